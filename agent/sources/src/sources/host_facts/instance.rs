//! Which EC2 instance this is, from the instance identity document of the metadata service.

use crate::{Emitter, Host, Options, SinkClosed, imds::Imds};
use serde::{Deserialize, Serialize};

/// The document and the signatures of AWS over it: with them the identity can be proved later.
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const SIGNATURES: [&str; 2] =
    ["/latest/dynamic/instance-identity/pkcs7", "/latest/dynamic/instance-identity/rsa2048"];
/// Bytes of each answer at most; real ones have about 500 to 1,500.
const ANSWER_BYTES: usize = 64 * 1024;

/// The instance, and why there is none.
pub struct Answer {
    pub instance: Option<Instance>,
    pub state: String,
}

/// The identity document's facts (EC2 user guide, "Instance identity documents").
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "camelCase"))]
pub struct Instance {
    pub instance_id: Option<String>,
    pub account_id: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub image_id: Option<String>,
    pub instance_type: Option<String>,
    pub private_ip: Option<String>,
    pub architecture: Option<String>,
    /// When the instance was last launched.
    pub pending_time: Option<String>,
}

impl Answer {
    fn none(state: impl Into<String>) -> Self {
        Self { instance: None, state: state.into() }
    }
}

/// Asks the service where that is wanted, and emits its answers as raw items.
pub fn ask(host: &Host, options: &Options, out: &mut Emitter<'_>) -> Result<Answer, SinkClosed> {
    if !host.is_live() {
        return Ok(Answer::none("not asked: this is a dead disk"));
    }
    if !options.imds {
        return Ok(Answer::none("not asked: switched off"));
    }
    let imds = match Imds::connect() {
        Ok(imds) => imds,
        // Most hosts that are not on EC2 end here: a fact, not a gap.
        Err(reason) => return Ok(Answer::none(format!("no answer: {reason}"))),
    };
    let document = match imds.get(DOCUMENT, ANSWER_BYTES) {
        Ok(Some(document)) => document,
        Ok(None) => return Ok(Answer::none("it has no instance identity document")),
        Err(reason) => {
            out.gap("ask metadata service", DOCUMENT.as_bytes(), &reason);
            return Ok(Answer::none(format!("no document: {reason}")));
        }
    };
    emit(DOCUMENT, &document, out)?;
    for path in SIGNATURES {
        match imds.get(path, ANSWER_BYTES) {
            Ok(Some(signature)) => emit(path, &signature, out)?,
            Ok(None) => {}
            Err(reason) => out.gap("ask metadata service", path.as_bytes(), &reason),
        }
    }
    Ok(match parse(&document) {
        Ok(instance) => Answer { instance: Some(instance), state: "answered".into() },
        Err(reason) => {
            out.gap("parse", DOCUMENT.as_bytes(), &reason);
            Answer::none(format!("the document is not one: {reason}"))
        }
    })
}

fn emit(path: &str, answer: &[u8], out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    let name = format!("imds:{path}");
    out.raw(name.as_bytes(), &[], answer).map(|_| ())
}

fn parse(document: &[u8]) -> Result<Instance, String> {
    let facts: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(document).map_err(|error| error.to_string())?;
    serde_json::from_value(facts.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_gives_its_facts_and_null_is_allowed() {
        let instance = parse(
            br#"{"accountId":"111122223333","architecture":"x86_64","availabilityZone":"eu-west-1a",
            "billingProducts":null,"imageId":"ami-0abc","instanceId":"i-0123456789abcdef0",
            "instanceType":"t3.micro","kernelId":null,"pendingTime":"2024-05-01T10:00:00Z",
            "privateIp":"10.0.0.5","region":"eu-west-1","version":"2017-09-30"}"#,
        )
        .unwrap();
        assert_eq!(instance.instance_id.as_deref(), Some("i-0123456789abcdef0"));
        assert_eq!(instance.availability_zone.as_deref(), Some("eu-west-1a"));
        let written = serde_json::to_value(&instance).unwrap();
        assert_eq!(written["account_id"], "111122223333");
        assert_eq!(written["private_ip"], "10.0.0.5");
        assert!(parse(b"<html>").is_err() && parse(b"[]").is_err());
    }
}
