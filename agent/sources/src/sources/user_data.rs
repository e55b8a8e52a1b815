//! cloud-init's files, the instance metadata, and the user data in both, taken apart.
//!
//! Raw files first, as they lie there (secrets too: they are labelled `sensitive`); then records.
//! It never fetches an `#include`, never unpickles `obj.pkl`, never asks for a role's credentials.

mod facts;
mod metadata;
mod parts;
mod tree;

use crate::{Emitter, Host, Options, SinkClosed, Source, Volatility, imds::Imds};
use cleanroom_evidence::{Outcome, RawBytes};
use parts::Parts;

/// The user-data source.
pub struct UserData;

impl Source for UserData {
    fn name(&self) -> &'static str {
        "user-data"
    }

    fn about(&self) -> &'static str {
        "cloud-init's files and instance metadata; user data decoded part by part"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Temporary
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        let service = match (options.imds, host.is_live()) {
            (false, _) => Service::NotAsked("off"),
            (true, false) => Service::NotAsked("not-live"),
            (true, true) => match Imds::connect() {
                Ok(imds) => Service::Answers(imds),
                Err(why) => Service::Silent(why),
            },
        };
        collect_with(host, options, service, out)
    }
}

/// The metadata service as this run sees it.
enum Service {
    /// Why it was not asked.
    NotAsked(&'static str),
    /// It gave no token, and why.
    Silent(String),
    Answers(Imds),
}

/// What the metadata service gave, for the `cloud-init` record.
#[derive(Default)]
struct ImdsFacts {
    state: &'static str,
    why: Option<String>,
    items: u64,
    redacted: Vec<RawBytes>,
}

fn collect_with(
    host: &Host,
    options: &Options,
    service: Service,
    out: &mut Emitter<'_>,
) -> Result<Outcome, SinkClosed> {
    let mut parts = Parts::default();
    let imds = match service {
        Service::Answers(imds) => metadata::collect(&imds, &mut parts, out)?,
        Service::NotAsked(state) => ImdsFacts { state, ..ImdsFacts::default() },
        Service::Silent(why) => {
            // Silence is no gap where there is no such service: most hosts outside EC2.
            if facts::looks_like_ec2(host) {
                out.gap("ask IMDS", b"/latest/api/token", &why);
            }
            ImdsFacts { state: "silent", why: Some(why), ..ImdsFacts::default() }
        }
    };
    let paths = tree::collect(host, options, &mut parts, out)?;
    let nothing = paths == 0 && imds.state != "answered";
    if !nothing || imds.state == "silent" {
        let record = facts::cloud_init(host, imds, &parts, out);
        out.record("cloud-init", &record)?;
    }
    parts.emit_records(out)?;
    match out.outcome()? {
        Outcome::Complete if nothing => Ok(Outcome::Absent(
            "no files of cloud-init and no answer of the metadata service".to_owned(),
        )),
        outcome => Ok(outcome),
    }
}

#[cfg(test)]
mod tests;
