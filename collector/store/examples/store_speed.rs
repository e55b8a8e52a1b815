//! Measures the store on a folder of the disk in question: many small items, one large item.
//!
//! `cargo run --release -p cleanroom-store --example store_speed -- DIR [SMALL_ITEMS] [LARGE_MIB]`
//! leaves the store and an exported custody folder in DIR, for an independent verifier.

use cleanroom_evidence::{
    Clock, Hasher, ItemHeader, ItemKind, ItemStatus, Limits, Seal, Sha256Digest,
};
use cleanroom_store::{CaseDraft, Session, SessionOpen, Store, Tool, custody};
use std::{collections::BTreeMap, error::Error, fs, path::PathBuf, time::Instant};

const BATCH: u64 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("usage: store_speed DIR [SMALL] [LARGE_MIB]")?);
    let small = args.next().map_or(Ok(2_000), |text| text.parse::<u64>())?;
    let large = args.next().map_or(Ok(1_024), |text| text.parse::<u64>())?;
    let tool =
        Tool { name: "store_speed".into(), version: "1".into(), sha256: Sha256Digest::of(b"") };
    let case = Store::open(&dir.join("store"))?.create_case(CaseDraft {
        id: "speed".parse()?,
        title: "speed".into(),
        examiner: "nobody".into(),
        authority: "none".into(),
        tool: tool.clone(),
        quota_bytes: None,
    })?;
    let mut session = case.open_session(SessionOpen {
        host: "h".parse()?,
        session: "s".parse()?,
        incarnation: "a".into(),
        agent: tool,
        host_facts: serde_json::Map::new(),
        peer: "loopback".into(),
    })?;

    let (start, mut bytes) = (Instant::now(), 0u64);
    for seq in 1..=small {
        let content = format!("{seq} ").repeat(400 + usize::try_from(seq % 1500)?);
        bytes += put(&mut session, seq, &mut content.as_bytes().chunks(Limits::CHUNK_BYTES))?;
        if seq % BATCH == 0 {
            session.commit()?;
        }
    }
    session.commit()?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{small} small items in commits of {BATCH}: {seconds:.2} s, {:.0} items/s, {:.1} MB/s",
        small as f64 / seconds,
        bytes as f64 / 1e6 / seconds
    );

    let chunk: Vec<u8> = (0..Limits::CHUNK_BYTES).map(|n| ((n * n) >> 5) as u8).collect();
    let start = Instant::now();
    let chunks = large * 4;
    let mut hasher = Hasher::default();
    session.begin(small + 1, header("large"))?;
    let mut hashing = 0.0;
    for n in 0..chunks {
        session.chunk(small + 1, n * chunk.len() as u64, &chunk)?;
        if n % BATCH == BATCH - 1 {
            session.commit()?;
        }
        let at = Instant::now();
        hasher.update(&chunk);
        hashing += at.elapsed().as_secs_f64();
    }
    let length_bytes = chunks * chunk.len() as u64;
    let seal = Seal {
        sha256: hasher.finish(),
        length_bytes,
        status: ItemStatus::Whole,
        read_end: Clock::default(),
    };
    session.seal(small + 1, seal)?;
    session.commit()?;
    let seconds = start.elapsed().as_secs_f64() - hashing;
    println!(
        "one item of {large} MiB in 256 KiB chunks, durable every 16 MiB: {seconds:.2} s, {:.0} MB/s",
        length_bytes as f64 / 1e6 / seconds
    );
    println!("SHA-256 alone: {:.0} MB/s", length_bytes as f64 / 1e6 / hashing);
    session.close("measured")?;

    let custody = case.reader().custody()?;
    let export = dir.join("custody");
    fs::create_dir_all(&export)?;
    custody::write_tiles(&export, custody.entries()?)?;
    fs::write(export.join("checkpoint"), &custody.checkpoint)?;
    fs::write(export.join("key.pub"), format!("{}\n", custody.vkey))?;
    fs::write(export.join("key.pem"), &custody.key_pem)?;
    Ok(())
}

fn header(name: &str) -> ItemHeader {
    ItemHeader {
        source: "files".into(),
        kind: ItemKind::File,
        name: name.into(),
        file: None,
        read_at: Clock::default(),
        labels: BTreeMap::new(),
    }
}

fn put(
    session: &mut Session,
    seq: u64,
    chunks: &mut dyn Iterator<Item = &[u8]>,
) -> Result<u64, Box<dyn Error>> {
    session.begin(seq, header(&format!("/etc/{seq}")))?;
    let (mut hasher, mut length_bytes) = (Hasher::default(), 0);
    for chunk in chunks {
        session.chunk(seq, length_bytes, chunk)?;
        hasher.update(chunk);
        length_bytes += chunk.len() as u64;
    }
    let sha256 = hasher.finish();
    let status = ItemStatus::Whole;
    session.seal(seq, Seal { sha256, length_bytes, status, read_end: Clock::default() })?;
    Ok(length_bytes)
}
