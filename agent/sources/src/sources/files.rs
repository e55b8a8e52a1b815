//! Files that the responder names: each whole, whatever its size.

use crate::{Emitter, FileRead, Host, Options, SinkClosed, Source, Volatility};
use cleanroom_evidence::{FileKind, Outcome};

/// The `files` source.
pub struct Files;

impl Source for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn about(&self) -> &'static str {
        "files that the responder names (--file), whole and raw"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Disk
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if options.files.is_empty() {
            return Ok(Outcome::Absent("no file was asked for (--file)".into()));
        }
        for path in &options.files {
            self.take(host, path, out)?;
        }
        out.outcome()
    }
}

impl Files {
    fn take(&self, host: &Host, path: &[u8], out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
        match out.file(host, path, &[], u64::MAX, 0)? {
            FileRead::Missing => out.gap("find", path, "no such file"),
            FileRead::Unread(meta) if meta.kind == FileKind::Symlink => match host.resolve(path) {
                Ok(target) => {
                    if out.file(host, &target, &[], u64::MAX, 0)? == FileRead::Missing {
                        out.gap("find", &target, "the link points to nothing");
                    }
                }
                Err(error) => out.gap_io("follow link", path, &error),
            },
            FileRead::Unread(meta) if meta.kind != FileKind::Regular => {
                out.gap("read", path, "not a regular file: only its metadata was taken");
            }
            FileRead::Unread(_) | FileRead::Read { .. } => {}
        }
        Ok(())
    }
}
