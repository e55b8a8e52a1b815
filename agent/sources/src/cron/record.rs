//! The record of the set `cron-jobs`, and the bounds of its texts.

use super::layout::Verdict;
use cleanroom_evidence::{FileMeta, RawBytes, Timestamp};
use serde::Serialize;

/// Bytes of one text in a record at most; the raw file has the rest.
pub(crate) const TEXT_BYTES: usize = 64 * 1024;
/// Environment settings of one record at most, and their bytes together.
const SETTINGS: usize = 64;
const SETTINGS_BYTES: usize = 4 * 1024;

/// A setting.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub name: RawBytes,
    pub value: RawBytes,
}

/// The five fields as they stand there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FieldTexts {
    pub minute: RawBytes,
    pub hour: RawBytes,
    pub day_of_month: RawBytes,
    pub month: RawBytes,
    pub day_of_week: RawBytes,
}

/// Metadata of the file; of its target where the path is a link.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileFields {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub size_bytes: u64,
    pub modified: Timestamp,
    pub changed: Timestamp,
}

impl From<&FileMeta> for FileFields {
    fn from(meta: &FileMeta) -> Self {
        Self {
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            links: meta.links,
            size_bytes: meta.size_bytes,
            modified: meta.modified,
            changed: meta.changed,
        }
    }
}

/// One line of a crontab, one script of a periodic directory, one job of at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CronJob {
    pub path: RawBytes,
    pub place: &'static str,
    /// Where the path is a link: where it points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_target: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_fields: Option<FieldTexts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_total_bytes: Option<u64>,
    /// What the command gets as standard input: the part after its first unescaped `%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_input: Option<RawBytes>,
    /// The line itself, where it is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<RawBytes>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<Setting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_total: Option<u64>,
    pub file: FileFields,
    pub would_run: bool,
    pub why: String,
    /// Names of the layouts that would run it, with a comma between them, or `none`.
    pub runs_on: String,
    pub verdicts: Vec<Verdict>,
    /// When the host's own cron runs it next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run_local: Option<String>,
    /// The next time that fits the schedule, whether or not this host runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_match: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl CronJob {
    /// A record with what every kind has; `verdicts` in the order of the layouts.
    pub fn new(
        path: &[u8],
        place: &'static str,
        kind: &'static str,
        meta: &FileMeta,
        verdicts: Vec<Verdict>,
        on_this_host: Result<String, String>,
    ) -> Self {
        let names: Vec<_> = verdicts.iter().filter(|v| v.would_run).map(|v| v.layout).collect();
        let would_run = on_this_host.is_ok();
        Self {
            path: path.into(),
            place,
            link_target: None,
            line: None,
            kind,
            user: None,
            schedule: None,
            schedule_fields: None,
            command: None,
            command_total_bytes: None,
            standard_input: None,
            text: None,
            environment: Vec::new(),
            environment_total: None,
            file: meta.into(),
            would_run,
            why: on_this_host.unwrap_or_else(|why| why),
            runs_on: if names.is_empty() { "none".to_owned() } else { names.join(",") },
            verdicts,
            next_run: None,
            next_run_local: None,
            next_match: None,
            time_zone: None,
            notes: Vec::new(),
        }
    }

    /// Sets the command, cut to the bound with its whole length beside it.
    pub fn with_command(mut self, command: &[u8]) -> Self {
        self.command = Some(cut(command).into());
        self.command_total_bytes = (command.len() > TEXT_BYTES).then_some(command.len() as u64);
        self
    }

    /// Sets the environment, cut to the bounds with the whole count beside it.
    pub fn with_environment<'a>(
        mut self,
        settings: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let total = settings.len();
        let mut room = SETTINGS_BYTES;
        for (name, value) in settings.take(SETTINGS) {
            let Some(left) = room.checked_sub(name.len() + value.len()) else {
                break;
            };
            room = left;
            self.environment.push(Setting { name: name.into(), value: value.into() });
        }
        self.environment_total = (self.environment.len() < total).then_some(total as u64);
        self
    }
}

/// The first bytes of a text, as many as a record holds.
pub(crate) fn cut(text: &[u8]) -> &[u8] {
    text.get(..text.len().min(TEXT_BYTES)).unwrap_or_default()
}
