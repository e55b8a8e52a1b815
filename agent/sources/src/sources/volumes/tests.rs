//! The source over real images and loop devices, against `sha256sum`, `dcfldd` and `sfdisk`. A
//! test that needs root, a loop device or one of those tools says so and passes without them.

use super::*;
use crate::testing::Captured;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn collect(volumes: &[&Path]) -> (Captured, Outcome) {
    let host = Host::live().unwrap();
    let options = Options {
        volumes: volumes.iter().map(|path| path.to_path_buf()).collect(),
        ..Options::default()
    };
    let mut sink = Captured::default();
    let mut out = Emitter::new("volumes", &mut sink);
    let outcome = Volumes.collect(&host, &options, &mut out).unwrap();
    drop(out);
    (sink, outcome)
}

/// Standard output of a tool, or `None` with the reason printed.
fn tool(program: &str, arguments: &[&str], input: &str) -> Option<String> {
    let spawned = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIPPED: {program}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        eprintln!("SKIPPED: {program} {arguments:?}: {why}");
        return None;
    }
    Some(String::from_utf8(output.stdout).unwrap())
}

struct Loop(PathBuf);

impl Loop {
    fn of(image: &Path) -> Option<Self> {
        let image = image.to_str().unwrap();
        let name = tool("losetup", &["-f", "--show", image], "")?;
        Some(Self(name.trim().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        tool("losetup", &["-d", self.0.to_str().unwrap()], "");
    }
}

fn image(directory: &Path, length: u64) -> PathBuf {
    let path = directory.join("disk.img");
    let mut file = File::create(&path).unwrap();
    let mut noise = File::open("/dev/urandom").unwrap().take(length);
    io::copy(&mut noise, &mut file).unwrap();
    file.sync_all().unwrap();
    path
}

fn blocks(sink: &Captured) -> Vec<String> {
    let (header, bytes, status) = sink
        .items
        .iter()
        .find(|(header, _, _)| header.name.as_bytes().starts_with(b"volume-blocks:"))
        .unwrap();
    assert_eq!(*status, ItemStatus::Whole);
    assert_eq!(header.labels["block_bytes"], "524288");
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn check_against_tools(path: &Path, record: &Value, lines: &[String]) {
    let name = path.to_str().unwrap();
    if let Some(sum) = tool("sha256sum", &[name], "") {
        assert_eq!(record["sha256"], sum.split_once(' ').unwrap().0);
    }
    let input = format!("if={name}");
    let arguments = [&input, "hash=sha256", "hashwindow=524288", "of=/dev/null"];
    let dcfldd = Command::new("dcfldd").args(arguments).output();
    let Ok(dcfldd) = dcfldd else {
        return eprintln!("SKIPPED: dcfldd is not installed");
    };
    // Each window: `0 - 524288: <digest>`; the last line is the total.
    let text = String::from_utf8_lossy(&dcfldd.stderr).into_owned();
    let windows: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(range, _)| range.contains(" - "))
        .map(|(_, digest)| digest.trim())
        .collect();
    let ours: Vec<_> = lines.iter().map(|l| l.split(' ').nth(3).unwrap()).collect();
    assert_eq!(windows, ours, "{text}");
}

#[test]
fn an_image_of_odd_size_hashes_as_the_tools_say() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 5 * 1024 * 1024 + 12_345);
    let (sink, outcome) = collect(&[&path]);
    assert_eq!(outcome, Outcome::Complete);
    let records = sink.records("volumes");
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!(record["hashed"], true);
    assert_eq!(record["blocks"], 11);
    assert_eq!(record["block_bytes"], 524_288);
    assert_eq!(record["changed_meanwhile"], false);
    assert_eq!(record["partition_table"]["kind"], "none");
    assert_eq!(record["errors"], json!([]));
    let lines = blocks(&sink);
    assert!(lines[10].starts_with("10 5242880 12345 "), "{}", lines[10]);
    check_against_tools(&path, record, &lines);
}

#[test]
fn a_loop_device_with_a_gpt_matches_sfdisk_and_dcfldd() {
    let directory = tempfile::tempdir().unwrap();
    // Not a multiple of a block, nor of 4 KiB.
    let path = image(directory.path(), 40 * 1024 * 1024 + 3 * 512);
    let script = "label: gpt\nstart=2048, size=8192, type=uefi, name=\"boot \u{e9}\"\n\
                  size=20000, type=linux, attrs=LegacyBIOSBootable\n";
    if tool("sfdisk", &["-q", path.to_str().unwrap()], script).is_none() {
        return;
    }
    let Some(device) = Loop::of(&path) else {
        return;
    };
    let (sink, outcome) = collect(&[&device.0]);
    assert_eq!(outcome, Outcome::Complete);
    let record = &sink.records("volumes")[0];
    let table = &record["partition_table"];
    let said = tool("sfdisk", &["-J", device.0.to_str().unwrap()], "").unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let said = &said["partitiontable"];
    assert_eq!(table["kind"], "gpt");
    assert_eq!(table["primary_header"], "valid");
    assert_eq!(table["backup_header"], "valid");
    assert_eq!(table["notes"], json!([]));
    let lower = |value: &Value| value.as_str().unwrap().to_lowercase();
    assert_eq!(table["disk_id"], lower(&said["id"]));
    for (n, theirs) in said["partitions"].as_array().unwrap().iter().enumerate() {
        let ours = &table["partitions"][n];
        assert_eq!(ours["index"], n + 1);
        assert_eq!(ours["start_bytes"], theirs["start"].as_u64().unwrap() * 512);
        assert_eq!(ours["size_bytes"], theirs["size"].as_u64().unwrap() * 512);
        assert_eq!(ours["type_guid"], lower(&theirs["type"]));
        assert_eq!(ours["guid"], lower(&theirs["uuid"]));
    }
    assert_eq!(table["partitions"][0]["name"], "boot \u{e9}");
    assert_eq!(table["partitions"][1]["bootable"], true);
    assert_eq!(record["size_bytes"], 40 * 1024 * 1024 + 3 * 512);
    assert_eq!(record["sector_bytes"], 512);
    assert_eq!(record["direct_io"], true);
    assert_eq!(record["written_meanwhile_bytes"], 0);
    assert_eq!(record["backing_file"], path.to_str().unwrap());
    assert!(record["device"].as_str().unwrap().starts_with("7:"));
    check_against_tools(&device.0, record, &blocks(&sink));
}

#[test]
fn an_mbr_with_logical_partitions_matches_sfdisk() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 40 * 1024 * 1024);
    let script = "label: dos\nlabel-id: 0xc1ea4400\nstart=2048, size=8192, type=83, bootable\n\
                  size=60000, type=5\nsize=2048, type=82\nsize=4096, type=8e\nsize=2048, type=83\n";
    if tool("sfdisk", &["-q", path.to_str().unwrap()], script).is_none() {
        return;
    }
    let (sink, _) = collect(&[&path]);
    let table = &sink.records("volumes")[0]["partition_table"];
    let said = tool("sfdisk", &["-J", path.to_str().unwrap()], "").unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    let said = said["partitiontable"]["partitions"].as_array().unwrap();
    assert_eq!(table["kind"], "mbr");
    assert_eq!(table["disk_id"], "0xc1ea4400");
    assert_eq!(table["notes"], json!([]));
    let ours = table["partitions"].as_array().unwrap();
    assert_eq!(ours.len(), said.len());
    for (ours, theirs) in ours.iter().zip(said) {
        let number = format!("img{}", ours["index"]);
        assert!(theirs["node"].as_str().unwrap().ends_with(&number));
        assert_eq!(ours["start_bytes"], theirs["start"].as_u64().unwrap() * 512);
        assert_eq!(ours["size_bytes"], theirs["size"].as_u64().unwrap() * 512);
        let code =
            format!("{:#04x}", u8::from_str_radix(theirs["type"].as_str().unwrap(), 16).unwrap());
        assert_eq!(ours["type_code"], code);
    }
}

#[test]
fn a_device_whose_end_fails_is_filled_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 4 * 1024 * 1024);
    let Some(device) = Loop::of(&path) else {
        return;
    };
    // The backing file now ends within a block and on a page: what lies behind gives EIO.
    let kept = 2 * 1024 * 1024 + 8192;
    File::options().write(true).open(&path).unwrap().set_len(kept).unwrap();
    let (sink, outcome) = collect(&[&device.0]);
    assert!(matches!(outcome, Outcome::Partial(_)), "{outcome:?}");
    let record = &sink.records("volumes")[0];
    let mut expected = std::fs::read(&path).unwrap();
    expected.resize(4 * 1024 * 1024, 0);
    assert_eq!(record["sha256"], Sha256Digest::of(&expected).to_string());
    assert_eq!(record["filled_blocks"], json!([4, 5, 6, 7]));
    assert_eq!(record["errors_total"], 1);
    let fault = &record["errors"][0];
    assert_eq!(fault["offset_bytes"], kept);
    assert_eq!(fault["length_bytes"], 4 * 1024 * 1024 - kept);
    assert_eq!(fault["errno"], libc::EIO);
    let lines = blocks(&sink);
    assert_eq!(lines.len(), 8);
    assert!(!lines[3].ends_with(" filled") && lines[4].ends_with(" filled"));
}

#[test]
fn the_page_cache_stays_as_it_was() {
    // Under the build directory: a temporary directory may be a tmpfs, which is all cache.
    let directory = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let path = image(directory.path(), 8 * 1024 * 1024);
    let cached = || {
        let pages = tool("fincore", &["-n", "-o", "PAGES", path.to_str().unwrap()], "")?;
        pages.trim().parse::<u64>().ok()
    };
    let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    let file = File::open(&path).unwrap();
    nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
    (&file).read_exact(&mut [0; 4096]).unwrap();
    let (Some(before), true) = (cached(), path.exists()) else {
        return;
    };
    let (sink, _) = collect(&[&path]);
    assert_eq!(sink.records("volumes")[0]["direct_io"], true);
    assert_eq!(cached(), Some(before));
    assert!(before < 2048, "the test itself cached the file: {before} pages");
}

#[test]
fn what_is_no_volume_is_refused_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = image(directory.path(), 1000);
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let missing = directory.path().join("missing");
    let (sink, outcome) = collect(&[&fifo, directory.path(), &missing, &path]);
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    assert_eq!(gaps.iter().map(|gap| gap.count).sum::<u64>(), 3);
    let records = sink.records("volumes");
    assert_eq!(records.len(), 4);
    assert_eq!(records[0]["hashed"], false);
    let why = records[0]["unreadable"][0]["why"].as_str().unwrap();
    assert!(why.contains("fifo"), "{why}");
    assert_eq!(records[3]["blocks"], 1);
}

#[test]
fn without_names_the_root_disk_is_listed_and_not_hashed() {
    let (sink, outcome) = collect(&[]);
    if let Outcome::Absent(why) = &outcome {
        return eprintln!("SKIPPED: {why}");
    }
    let records = sink.records("volumes");
    assert!(!records.is_empty());
    for record in &records {
        assert_eq!(record["hashed"], false);
        assert!(record["size_bytes"].as_u64().unwrap() > 0, "{record}");
        assert!(record.get("sha256").is_none());
    }
    assert_eq!(sink.items.len(), 1);
}

#[test]
fn a_sink_that_closes_midway_ends_the_run() {
    struct Closing(usize);
    impl crate::Sink for Closing {
        fn begin(&mut self, _: cleanroom_evidence::ItemHeader) -> Result<(), SinkClosed> {
            Ok(())
        }
        fn write(&mut self, _: &[u8]) -> Result<(), SinkClosed> {
            self.0 += 1;
            Err(SinkClosed("full".to_owned()))
        }
        fn seal(&mut self, _: ItemStatus) -> Result<cleanroom_evidence::Sha256Digest, SinkClosed> {
            panic!("a closed sink is called again")
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse.img");
    File::create(&path).unwrap().set_len(600 * 1024 * 1024).unwrap();
    let mut sink = Closing(0);
    let mut out = Emitter::new("volumes", &mut sink);
    let options = Options { volumes: vec![path], ..Options::default() };
    let result = Volumes.collect(&Host::live().unwrap(), &options, &mut out);
    assert!(result.is_err());
    drop(out);
    assert_eq!(sink.0, 1);
}
