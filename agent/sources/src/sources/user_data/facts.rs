//! The one `cloud-init` record: which instance this is and was, how cloud-init ended, and what
//! the metadata service did; and whether a host looks like EC2 at all.

use super::{ImdsFacts, parts::Parts};
use crate::{Emitter, Host};
use cleanroom_evidence::{RawBytes, Timestamp};
use serde::Serialize;

/// Bytes of a small state file at most.
const SMALL: usize = 64 * 1024;
/// Earlier instance ids, and errors, in the record at most; a count tells of the others.
const MAX_LISTED: usize = 256;
/// What cloud-init writes where there was no instance before.
const NONE_BEFORE: &[u8] = b"NO_PREVIOUS_INSTANCE_ID";
/// Where it keeps a directory for each instance id.
const INSTANCES: &[u8] = b"/var/lib/cloud/instances";

#[derive(Serialize)]
pub(super) struct CloudInit {
    path: RawBytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<RawBytes>,
    /// Ids left by earlier instances of this disk (an image made from a running host).
    previous_instance_ids: Vec<RawBytes>,
    previous_instance_ids_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_link_target: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datasource: Option<RawBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_datasource: Option<RawBytes>,
    /// The line of `boot-finished`: uptime, time, version.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_finished: Option<RawBytes>,
    /// When that file was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_finished_time: Option<Timestamp>,
    /// Errors of the last run, by its own account (`/run/cloud-init/result.json`).
    errors: Vec<String>,
    user_data_texts: u64,
    imds_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    imds_why: Option<String>,
    imds_items: u64,
    /// Credentials that the service offers; never asked for.
    imds_redacted: Vec<RawBytes>,
}

/// The record, from the state files.
pub(super) fn cloud_init(
    host: &Host,
    imds: ImdsFacts,
    parts: &Parts,
    out: &mut Emitter<'_>,
) -> CloudInit {
    let line = |path: &str| {
        let content = host.read(path.as_bytes(), SMALL).ok()?;
        let line = content.bytes.trim_ascii();
        (!line.is_empty()).then(|| RawBytes::from(line))
    };
    let link = host.link_target(b"/var/lib/cloud/instance").ok();
    let linked_id = link.as_deref().and_then(|target| {
        let target = target.trim_ascii_end();
        target.rsplit(|&b| b == b'/').find(|part| !part.is_empty())
    });
    let instance_id =
        linked_id.map(RawBytes::from).or_else(|| line("/var/lib/cloud/data/instance-id"));

    let mut previous = known_ids(host, out);
    previous.extend(line("/var/lib/cloud/data/previous-instance-id"));
    previous.retain(|id| Some(id) != instance_id.as_ref() && id.as_bytes() != NONE_BEFORE);
    previous.sort();
    previous.dedup();
    let previous_instance_ids_total = previous.len() as u64;
    previous.truncate(MAX_LISTED);

    let finished = "/var/lib/cloud/instance/boot-finished";
    CloudInit {
        path: "/var/lib/cloud".into(),
        instance_id,
        previous_instance_ids: previous,
        previous_instance_ids_total,
        instance_link_target: link.map(RawBytes),
        datasource: line("/var/lib/cloud/instance/datasource"),
        previous_datasource: line("/var/lib/cloud/data/previous-datasource"),
        boot_finished: line(finished),
        boot_finished_time: host.open(finished.as_bytes()).ok().map(|opened| opened.meta.modified),
        errors: errors(host),
        user_data_texts: parts.texts() as u64,
        imds_state: imds.state,
        imds_why: imds.why,
        imds_items: imds.items,
        imds_redacted: imds.redacted,
    }
}

/// The instance ids that have a directory. That the place cannot be read is the walk's gap.
fn known_ids(host: &Host, out: &mut Emitter<'_>) -> Vec<RawBytes> {
    let entries = match host.list(INSTANCES) {
        Ok(entries) => entries,
        Err(_) => return Vec::new(),
    };
    let bound = MAX_LISTED * 16;
    if entries.len() > bound {
        let reason = format!("more than {bound} instance ids: the rest was not recorded");
        out.gap("list", INSTANCES, &reason);
    }
    let ids = entries.into_iter().take(bound);
    ids.map(|entry| RawBytes(entry.name)).collect()
}

/// `v1.errors` of cloud-init's own result, as text.
fn errors(host: &Host) -> Vec<String> {
    let parse = || {
        let content = host.read(b"/run/cloud-init/result.json", SMALL).ok()?;
        let result: serde_json::Value = serde_json::from_slice(&content.bytes).ok()?;
        Some(result.get("v1")?.get("errors")?.as_array()?.clone())
    };
    let errors = parse().unwrap_or_default();
    let texts = errors.iter().take(MAX_LISTED);
    texts.map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned)).collect()
}

/// True where firmware or hypervisor name EC2 (EC2 User Guide, "Detect whether a host is an EC2
/// instance"): then silence of the metadata service is worth a gap.
pub(super) fn looks_like_ec2(host: &Host) -> bool {
    let read = |path: &str| {
        let content = host.read(path.as_bytes(), 256).ok();
        let bytes = content.map(|content| content.bytes).unwrap_or_default();
        bytes.trim_ascii().to_ascii_lowercase()
    };
    let uuids = ["/sys/hypervisor/uuid", "/sys/class/dmi/id/product_uuid"];
    let vendors = ["sys_vendor", "board_vendor", "chassis_vendor"];
    uuids.iter().any(|path| is_ec2_uuid(&read(path)))
        || vendors
            .iter()
            .any(|name| read(&format!("/sys/class/dmi/id/{name}")).starts_with(b"amazon ec2"))
}

/// A UUID of EC2 begins with `ec2`; where its first field is little-endian, with `45e12aec`-like
/// digits whose bytes read backwards do.
fn is_ec2_uuid(uuid: &[u8]) -> bool {
    let backwards = |first: &[u8]| matches!(first, [_, _, _, _, b'2', _, b'e', b'c']);
    uuid.starts_with(b"ec2") || uuid.get(..8).is_some_and(backwards)
}

#[cfg(test)]
mod tests {
    use super::is_ec2_uuid;

    #[test]
    fn uuids_of_ec2_in_both_byte_orders() {
        assert!(is_ec2_uuid(b"ec2e1916-9099-7caf-fd21-012345abcdef"));
        assert!(is_ec2_uuid(b"45e12aec-dcd1-b213-94ed-012345abcdef"));
        assert!(!is_ec2_uuid(b"4c4c4544-0044-4a10-8034-c3c04f4d3233"));
        assert!(!is_ec2_uuid(b""));
    }
}
