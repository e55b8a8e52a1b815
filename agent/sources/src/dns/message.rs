//! DNS messages (RFC 1035, section 4). What can be read is given even where the rest is broken;
//! a broken message says what is wrong with it. Lists are bounded, whatever the header claims.

use super::{names, rdata};
use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// Questions kept at most.
pub const QUESTIONS: usize = 16;
/// Answers kept at most.
pub const ANSWERS: usize = 64;

/// The header and what could be read of the sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The id; 0 in multicast DNS.
    pub id: u16,
    /// QR: an answer rather than a query.
    pub answer: bool,
    /// Kind of operation; 0 for a standard query.
    pub opcode: u8,
    /// TC: the answer did not fit.
    pub truncated: bool,
    /// Response code with the upper bits from EDNS.
    pub rcode: u16,
    /// An OPT record is present (RFC 6891).
    pub edns: bool,
    /// The first questions.
    pub questions: Vec<Question>,
    /// Questions that the header announces.
    pub questions_total: u16,
    /// The first answers.
    pub answers: Vec<Answer>,
    /// Answers that the header announces.
    pub answers_total: u16,
    /// Records of the authority section that the header announces.
    pub authority_total: u16,
    /// Records of the additional section that the header announces.
    pub additional_total: u16,
    /// Bytes after the last section: no resolver sends any.
    pub trailing_bytes: usize,
    /// What is wrong, where something is.
    pub malformed: Option<String>,
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Question {
    /// The name; see [`names::read`] for its form.
    pub name: RawBytes,
    /// Type, e.g. `A`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Class, e.g. `IN`.
    pub class: String,
}

/// One record of the answer section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The name that it is about.
    pub name: RawBytes,
    /// Type, e.g. `A`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Time to live.
    pub ttl_seconds: u32,
    /// The data in presentation form.
    pub data: RawBytes,
    /// Bytes of the data on the wire, where `data` is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_total_bytes: Option<u16>,
}

/// Reads a message. `multicast`: the top bit of a class is a flag of its own (RFC 6762, 18.12 and
/// 18.13), not part of the class.
pub fn parse(bytes: &[u8], multicast: bool) -> Message {
    let mut message = Message::default();
    if let Err(why) = fill(&mut message, bytes, multicast) {
        message.malformed = Some(why);
    }
    message
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

fn fill(message: &mut Message, bytes: &[u8], multicast: bool) -> Result<(), String> {
    let &[i0, i1, flags, low, q0, q1, a0, a1, n0, n1, x0, x1, ..] = bytes else {
        return Err(format!("{} bytes: shorter than a DNS header", bytes.len()));
    };
    message.id = u16::from_be_bytes([i0, i1]);
    message.answer = flags & 0x80 != 0;
    message.opcode = (flags >> 3) & 15;
    message.truncated = flags & 2 != 0;
    message.rcode = u16::from(low & 15);
    message.questions_total = u16::from_be_bytes([q0, q1]);
    message.answers_total = u16::from_be_bytes([a0, a1]);
    message.authority_total = u16::from_be_bytes([n0, n1]);
    message.additional_total = u16::from_be_bytes([x0, x1]);
    let class_mask = if multicast { 0x7fff } else { 0xffff };
    let mut at = 12;
    for n in 1..=message.questions_total {
        let cut = |why: &str| format!("question {n}: {why}");
        let (name, after) = names::read(bytes, at).map_err(cut)?;
        let kind = half(bytes, after).ok_or_else(|| cut("no type"))?;
        let class = half(bytes, after + 2).ok_or_else(|| cut("no class"))?;
        at = after + 4;
        if message.questions.len() < QUESTIONS {
            message.questions.push(Question {
                name: RawBytes(name),
                kind: names::type_name(kind),
                class: names::class_name(class & class_mask),
            });
        }
    }
    for n in 1..=message.answers_total {
        let (record, name) = record(bytes, at).map_err(|why| format!("answer {n}: {why}"))?;
        at = record.end;
        if message.answers.len() < ANSWERS {
            message.answers.push(answer(bytes, &record, name));
        }
    }
    let rest = u32::from(message.authority_total) + u32::from(message.additional_total);
    for n in 1..=rest {
        let (record, _) =
            record(bytes, at).map_err(|why| format!("authority or additional {n}: {why}"))?;
        at = record.end;
        if record.kind == 41 {
            message.edns = true;
            message.rcode |= u16::from(record.ttl.to_be_bytes()[0]) << 4;
        }
    }
    message.trailing_bytes = bytes.len().saturating_sub(at);
    Ok(())
}

struct Raw {
    kind: u16,
    ttl: u32,
    data: usize,
    length: u16,
    end: usize,
}

fn record(bytes: &[u8], at: usize) -> Result<(Raw, Vec<u8>), &'static str> {
    let (name, after) = names::read(bytes, at)?;
    let fixed = bytes.get(after..after + 10).ok_or("a record runs past the end")?;
    let &[k0, k1, _, _, t0, t1, t2, t3, l0, l1] = fixed else {
        return Err("a record runs past the end");
    };
    let length = u16::from_be_bytes([l0, l1]);
    let data = after + 10;
    let end = data + usize::from(length);
    if end > bytes.len() {
        return Err("the data of a record runs past the end");
    }
    let raw = Raw {
        kind: u16::from_be_bytes([k0, k1]),
        ttl: u32::from_be_bytes([t0, t1, t2, t3]),
        data,
        length,
        end,
    };
    Ok((raw, name))
}

fn answer(bytes: &[u8], record: &Raw, name: Vec<u8>) -> Answer {
    let (data, cut) = rdata::present(bytes, record.data, usize::from(record.length), record.kind);
    Answer {
        name: RawBytes(name),
        kind: names::type_name(record.kind),
        ttl_seconds: record.ttl,
        data: RawBytes(data),
        data_total_bytes: cut.then_some(record.length),
    }
}

/// One resource record by itself, uncompressed, as caches keep it.
pub fn single(bytes: &[u8]) -> Result<Answer, &'static str> {
    let (record, name) = record(bytes, 0)?;
    Ok(answer(bytes, &record, name))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dns::names::tests::wire;
    use proptest::prelude::*;

    /// A query of one question.
    pub(crate) fn query(id: u16, labels: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut out = id.to_be_bytes().to_vec();
        out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend(wire(labels));
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out
    }

    /// The answer to [`query`]: one A record, its name compressed, and an OPT record.
    pub(crate) fn answer_to(query: &[u8], address: [u8; 4]) -> Vec<u8> {
        let mut out = query.to_vec();
        (out[2], out[3], out[7], out[11]) = (0x81, 0x80, 1, 1);
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address);
        out.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        out
    }

    #[test]
    fn reads_a_query_and_its_answer() {
        let bytes = query(0xabcd, &[b"pool", b"example"], 1);
        let message = parse(&bytes, false);
        assert_eq!((message.id, message.answer, &message.malformed), (0xabcd, false, &None));
        assert_eq!(message.questions[0].name.0, b"pool.example");
        let message = parse(&answer_to(&bytes, [198, 51, 100, 3]), false);
        assert!(message.answer && message.edns && message.malformed.is_none());
        assert_eq!(message.answers[0].name.0, b"pool.example");
        assert_eq!(message.answers[0].data.0, b"198.51.100.3");
        assert_eq!((message.answers[0].ttl_seconds, message.trailing_bytes), (60, 0));
    }

    #[test]
    fn says_what_is_broken_and_keeps_what_came_before() {
        let whole = answer_to(&query(1, &[b"a"], 16), [1, 2, 3, 4]);
        for length in 0..whole.len() {
            let message = parse(&whole[..length], false);
            assert!(message.malformed.is_some(), "{length}");
            assert!(length < 19 || message.questions.len() == 1, "{length}");
        }
        let lying = [&[0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], &[0; 10]].concat();
        assert!(parse(&lying, false).malformed.unwrap().starts_with("question 3"));
    }

    #[test]
    fn multicast_class_flag() {
        let mut bytes = query(0, &[b"x", b"local"], 12);
        let flag = bytes.len() - 2;
        bytes[flag] = 0x80;
        assert_eq!(parse(&bytes, true).questions[0].class, "IN");
        assert_eq!(parse(&bytes, false).questions[0].class, "CLASS32769");
    }

    proptest! {
        #[test]
        fn never_panics_and_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..2000), multicast: bool) {
            let message = parse(&bytes, multicast);
            prop_assert!(message.questions.len() <= QUESTIONS && message.answers.len() <= ANSWERS);
            let _ = single(&bytes);
        }

        #[test]
        fn never_panics_on_damaged_answers(at in 0usize..80, byte: u8, cut in 0usize..90) {
            let mut bytes = answer_to(&query(7, &[b"some", b"name", b"example"], 1), [1, 2, 3, 4]);
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            let _ = parse(&bytes, false);
        }
    }
}
