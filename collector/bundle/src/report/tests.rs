//! Of the whole report: what stands in it, and that nothing of a host gets out of its place.

use super::*;
use crate::testing::{Given, Scene, file, raw, records};
use crate::view::CaseView;
use cleanroom_evidence::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SEED: &[u8] = include_bytes!("../../../../agent/sources/tests/data/seed-user-data.txt");
const USER_DATA: &[u8] = b"user-data//var/lib/cloud/instance/user-data.txt#1";

fn rendered(items: Vec<Given>) -> (String, String) {
    let scene = Scene::with(items);
    let view = CaseView::read(scene.case.reader(), Timestamp::new(1_700_000_000, 0)).unwrap();
    let (mut report, mut findings) = (Vec::new(), Vec::new());
    write(&view, &mut report).unwrap();
    write_findings(&view, &mut findings).unwrap();
    (String::from_utf8(report).unwrap(), String::from_utf8(findings).unwrap())
}

fn report(items: Vec<Given>) -> String {
    let (report, _) = rendered(items);
    check(&report).unwrap();
    report
}

/// The section of that id, as text without tags.
fn section(report: &str, id: &str) -> String {
    let from = report.find(&format!("id=\"i-0abc.s1.{id}\"")).unwrap();
    let rest = &report[from..];
    let end = rest.find("</section>").unwrap();
    let (mut text, mut tag) = (String::new(), false);
    for c in rest[rest.find('>').unwrap()..end].chars() {
        match c {
            '<' => tag = true,
            '>' => tag = false,
            c if !tag => text.push(c),
            _ => {}
        }
    }
    text
}

/// Elements nest, only known elements and attributes are there, links stay in the bundle.
fn check(html: &str) -> Result<(), String> {
    const ELEMENTS: &str = " html head meta style title body nav p ul li a main header h1 h2 h3 h4 \
        small dl dt dd div b span section article details summary pre code table thead tbody tr th \
        td i br footer ";
    const ATTRIBUTES: &str = " lang charset http-equiv content name id class href scope style title \
        aria-label open ";
    if let Some(c) = html.chars().find(|c| c.is_control() && *c != '\n') {
        return Err(format!("control character {c:?}"));
    }
    let style = html.find("</style>").ok_or("no style")?;
    let mut open = vec!["html", "head", "style"];
    let mut rest = &html[style..];
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').ok_or("unclosed tag")?;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing near {:.120}", rest));
            }
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        if !ELEMENTS.contains(&format!(" {name} ")) {
            return Err(format!("element {tag:?}"));
        }
        attributes(&tag[name.len()..], ATTRIBUTES)?;
        if !matches!(name, "meta" | "br") {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("never closed: {open:?}")) }
}

fn attributes(text: &str, known: &str) -> Result<(), String> {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !known.contains(&format!(" {name} ")) {
            return Err(format!("attribute {name:?}"));
        }
        rest = after.trim_start();
        if let Some(value) = after.strip_prefix("=\"") {
            let end = value.find('"').ok_or("unquoted value")?;
            let inside = &value[..end];
            if name == "href" && !inside.starts_with(['#', 'h', 'f']) || inside.contains("//") {
                return Err(format!("link {inside:?}"));
            }
            rest = value[end + 1..].trim_start();
        }
    }
    Ok(())
}

#[test]
fn the_checker_checks() {
    let page = |body: &str| format!("<style></style></head><body>{body}</body></html>");
    assert!(check(&page("<p class=\"x\">a<br></p>")).is_ok());
    for bad in [
        "<p>",
        "</p>",
        "<script></script>",
        "<p onclick=\"x\"></p>",
        "<a href=\"https://x\"></a>",
        "<img src=x>",
        "\u{1b}",
    ] {
        assert!(check(&page(bad)).is_err(), "{bad}");
    }
}

#[test]
fn it_needs_no_network_and_no_script() {
    let report = report(crate::testing::items());
    let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                  form-action 'none'\"";
    assert!(report.contains(policy));
    for word in ["<script", "<link", "<iframe", "<img", "@import", "url(", "http://", "https://"] {
        assert!(!report.contains(word), "{word}");
    }
    assert!(report.is_ascii() || std::str::from_utf8(report.as_bytes()).is_ok());
}

#[test]
fn the_case_stands_at_its_head() {
    let scene = Scene::with(crate::testing::items());
    let view = CaseView::read(scene.case.reader(), Timestamp::new(1_700_000_000, 0)).unwrap();
    let custody = view.custody().unwrap();
    let mut out = Vec::new();
    write(&view, &mut out).unwrap();
    let report = String::from_utf8(out).unwrap();
    let root = custody.head.root.to_string();
    for text in ["A case\\x0awith two lines", "case-1", "E. Xaminer", "i-0abc", &root] {
        assert!(report.contains(text), "{text}");
    }
    assert!(report.contains("cleanroom verify case-1.tar"));
    assert!(report.contains(&custody.vkey));
    assert!(report.contains("EACCES: Permission denied"), "items that are not whole");
}

#[test]
fn every_link_leads_to_a_file_of_the_bundle() {
    let scene = Scene::with(attack());
    let folder = scene.export("out", true).unwrap().path;
    let report = std::fs::read_to_string(folder.join("data/report.html")).unwrap();
    let links: BTreeSet<&str> =
        report.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut files = 0;
    for link in links {
        match link.strip_prefix('#') {
            Some(id) => assert!(report.contains(&format!("id=\"{id}\"")), "{link}"),
            None => {
                assert!(folder.join("data").join(link).is_file(), "{link}");
                files += 1;
            }
        }
    }
    assert!(files >= 8, "records, raw items, outcomes, …");
    let findings = std::fs::read_to_string(folder.join("data/findings.jsonl")).unwrap();
    assert!(findings.lines().count() >= 5);
    crate::verify(&folder, &crate::VerifyOptions::default()).unwrap();
}

/// A host with the seed's attack on it.
fn attack() -> Vec<Given> {
    let script = std::str::from_utf8(SEED).unwrap();
    let names = script
        .split_whitespace()
        .filter_map(|word| word.split([';', '"']).next())
        .filter(|word| word.ends_with(".afsdem.com") || word.contains("xmr"));
    let mut dns = String::new();
    for (number, name) in names.enumerate() {
        dns.push_str(&format!(
            "{{\"time\":\"2026-01-02T03:{:02}:{:02}Z\",\"direction\":\"query\",\"name\":\"{name}\",\
             \"type\":\"A\",\"port\":53,\"process\":{{\"pid\":{},\"comm\":\"dig\",\
             \"exe\":\"/usr/bin/dig\"}}}}\n",
            number / 60,
            number % 60,
            5000 + number
        ));
    }
    dns.push_str(
        "{\"time\":\"2026-01-02T03:59:00Z\",\"direction\":\"answer\",\"name\":\"deb.debian.org\",\
         \"type\":\"A\",\"answers\":[{\"data\":\"198.51.100.7\"}],\"rcode\":\"NOERROR\"}\n",
    );
    vec![
        records(
            b"host",
            r#"{"live":true,"hostname":"web-1","os_release":{"pretty_name":"Debian GNU/Linux 12"},
            "kernel_release":"6.1.0","boot_time":"2026-01-01T00:00:00Z","imds_state":"ok",
            "instance":{"instance_id":"i-0abc","region":"eu-central-1"}}"#
                .replace('\n', " ")
                .as_str(),
        ),
        records(b"users", "{\"name\":\"root\",\"uid\":0,\"gid\":0,\"shell\":\"/bin/bash\",\"locked\":true}\n"),
        records(
            b"processes",
            &[
                r#"{"pid":1,"ppid":0,"comm":"systemd","start_time":"2026-01-01T00:00:01Z","uid":{"real":0,"effective":0},"exe":{"path":"/usr/lib/systemd/systemd"},"cmdline":["/sbin/init"]}"#,
                r#"{"pid":9,"ppid":1,"comm":"x","state":"S","kernel_thread":false,"uid":{"real":33,"effective":0},"exe":{"path":"/dev/shm/x","deleted":true,"sha256":"ab"},"cmdline":["[kthreadd]","--token","hunter2hunter2"],"environ":["LD_PRELOAD=/dev/shm/l.so","DB_PASSWORD=hunter2"]}"#,
                r#"{"pid":10,"ppid":9,"comm":"sh","cmdline":["sh","-c","id"]}"#,
                r#"{"pid":2,"ppid":0,"comm":"kthreadd","kernel_thread":true,"cmdline":[]}"#,
            ]
            .join("\n"),
        ),
        records(
            b"sockets",
            &[
                r#"{"family":"tcp","state":"LISTEN","local_address":"0.0.0.0","local_port":4444,"uid":0,"netns":4026531840,"owners":[{"pid":9,"comm":"x"}]}"#,
                r#"{"family":"tcp6","state":"ESTABLISHED","local_address":"::1","local_port":22,"remote_address":"::1","remote_port":50000}"#,
                r#"{"family":"unix","path":"/run/x"}"#,
            ]
            .join("\n"),
        ),
        records(
            b"cron-jobs",
            r#"{"path":"/var/spool/cron/root","place":"user-crontab","line":1,"kind":"job","user":"root","schedule":"*/15 *\t* * *","command":"/usr/cryptokit/persist.sh","would_run":false,"why":"Debian's cron reads only /var/spool/cron/crontabs","verdicts":[{"layout":"debian","would_run":false,"why":"no"},{"layout":"amazon-linux","would_run":true,"why":"its cron reads it"}],"file":{"mode":384,"uid":0,"modified":"2026-01-02T00:00:00Z"}}"#,
        ),
        records(
            b"user-data-parts",
            r##"{"path":"/var/lib/cloud/instance/user-data.txt","part":"1","type":"x-shellscript","content_type":"text/x-shellscript","size_bytes":7716,"sha256":"00","item_name":"user-data//var/lib/cloud/instance/user-data.txt#1","notes":["unclosed boundary"]}"##,
        ),
        raw(USER_DATA, SEED),
        records(b"dns", &dns),
        records(b"dns-watch-summary", "{\"queries\":76,\"answers\":1,\"attributed\":76,\"drops_kernel\":0}\n"),
        records(b"dns-config", "{\"path\":\"/etc/resolv.conf\",\"kind\":\"resolv\",\"key\":\"nameserver\",\"value\":\"10.0.0.2\"}\n"),
        records(
            b"volumes",
            r#"{"path":"/dev/nvme0n1","size_bytes":8589934592,"hashed":true,"sha256":"cafe","blocks":16384,"block_bytes":524288,"partition_table":{"kind":"gpt","partitions":[{"index":1,"type":"Linux filesystem","start_bytes":1048576,"size_bytes":8588886016}]}}"#,
        ),
        records(
            b"persistence",
            "{\"path\":\"/etc/ld.so.preload\",\"place\":\"ld-preload\",\"what\":\"ld-preload\",\"runs\":\"/dev/shm/l.so\",\"file\":{\"mode\":420,\"uid\":0,\"gid\":0,\"size_bytes\":14,\"modified\":\"2026-01-02T00:00:00Z\"}}\n",
        ),
        file(b"/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
    ]
}

#[test]
fn each_section_shows_its_records() {
    let report = report(attack());
    let has = |id: &str, texts: &[&str]| {
        let section = section(&report, id);
        for text in texts {
            assert!(section.contains(text), "{id} lacks {text:?}: {section}");
        }
    };
    has("sources", &["complete", "outcomes.jsonl"]);
    has("facts", &["web-1", "Debian GNU/Linux 12", "eu-central-1", "seq 1 · line 1"]);
    has(
        "processes",
        &["deleted", "poses as a kernel thread", "other rights than its user", "1 kernel threads"],
    );
    has("processes", &["LD_PRELOAD=/dev/shm/l.so", "2026-01-01 00:00:01", "seq 3 · line 2", "└"]);
    has("sockets", &["0.0.0.0:4444", "x (9)", "[::1]:22", "1 unix and netlink sockets"]);
    has(
        "cron",
        &["*/15 * * * *", "/usr/cryptokit/persist.sh", "this host: no", "amazon-linux: yes"],
    );
    has("cron", &["Debian&#39;s cron reads only /var/spool/cron/crontabs", "seq 5 · line 1"]);
    has("user-data", &["x-shellscript", "unclosed boundary", "dig donate.v2.xmrig.com", "seq 7"]);
    has(
        "dns",
        &[
            "afsdem.com: 63 names",
            "xmr-eu1.nanopool.org",
            "dig (pid 50",
            "198.51.100.7",
            "10.0.0.2",
        ],
    );
    has("volumes", &["8.0 GiB", "cafe", "Linux filesystem", "gpt"]);
    has("persistence", &["/etc/ld.so.preload", "/dev/shm/l.so", "0644 0:0 2026-01-02"]);
    let findings = &report[report.find("id=\"findings\"").unwrap()..];
    for text in [
        "Data carried off in DNS names below afsdem.com",
        "Lorem ipsum dolor sit amet",
        "(1,782 bytes)",
        "scripts-user, always",
        "ld.so.preload is not empty",
        "T1048.003",
        "only another system&#39;s cron would run",
    ] {
        assert!(findings.contains(text), "{text}");
    }
    assert!(!report.contains("hunter2"), "secrets");
}

#[test]
fn an_empty_case_says_so() {
    let report = report(Vec::new());
    for text in ["No detection fired", "No processes were captured", "No cron jobs were captured"] {
        assert!(report.contains(text), "{text}");
    }
}

#[test]
fn crafted_records_are_shown_as_text_or_counted() {
    let evil =
        r#""\"><script>alert(1)</script><img src=x onerror=alert(1)>\u001b]0;x\u0007\u202e""#;
    let names = [
        "host",
        "users",
        "processes",
        "sockets",
        "cron-jobs",
        "user-data-parts",
        "cloud-init",
        "dns",
        "dns-cache",
        "dns-config",
        "dns-watch-summary",
        "volumes",
        "persistence",
        "interfaces",
    ];
    let columns = [
        "pid",
        "ppid",
        "comm",
        "start_time",
        "path",
        "place",
        "what",
        "runs",
        "line",
        "user",
        "schedule",
        "command",
        "why",
        "name",
        "type",
        "family",
        "local_address",
        "hostname",
        "sha256",
        "item_name",
        "time",
        "part",
        "kind",
        "file",
        "exe",
        "uid",
        "owners",
        "answers",
        "process",
        "partition_table",
        "verdicts",
        "instance",
        "instance_id",
        "cmdline",
        "environ",
    ];
    let values = [
        evil.to_owned(),
        format!("[{evil},{{\"x\":{evil}}},7]"),
        format!("{{\"path\":{evil},\"name\":{evil},\"deleted\":true,\"data\":{evil}}}"),
        "18446744073709551615".into(),
        "-1e300".into(),
        "null".into(),
    ];
    let items: Vec<Given> = names
        .iter()
        .map(|name| {
            let lines = values.iter().map(|value| {
                let fields: Vec<String> =
                    columns.iter().map(|column| format!("\"{column}\":{value}")).collect();
                format!("{{{}}}\n", fields.join(","))
            });
            let broken = "no json\n[1]\n{\"pid\":\n";
            records(name.as_bytes(), &(lines.collect::<String>() + broken))
        })
        .collect();
    let report = report(items);
    assert!(!report.contains("<script") && !report.contains("<img"));
    assert!(
        report.contains("&lt;script&gt;")
            && report.contains("\\x1b")
            && report.contains("\\u{202e}")
    );
    assert!(report.contains("lines there are no records"));
}

#[test]
fn loops_of_parents_and_huge_texts_end() {
    let huge = "A".repeat(3_000_000);
    let mut lines = String::new();
    for (pid, parent) in [(1, 2), (2, 1), (3, 3), (4, 99)] {
        lines.push_str(&format!("{{\"pid\":{pid},\"ppid\":{parent},\"comm\":\"c{pid}\"}}\n"));
    }
    lines.push_str(&format!(
        "{{\"pid\":5,\"comm\":\"{huge}\",\"cmdline\":[\"{huge}\",\"{huge}\"]}}\n"
    ));
    let report = report(vec![records(b"processes", &lines)]);
    let processes = section(&report, "processes");
    for pid in 1..=4 {
        assert!(processes.contains(&format!("c{pid}")), "{pid}");
    }
    assert!(report.len() < 60_000, "{}", report.len());
}

#[test]
fn tables_are_cut_and_say_so() {
    let lines: String = (0..5_200).map(|n| format!("{{\"pid\":{n},\"comm\":\"p\"}}\n")).collect();
    let jobs: String =
        (0..2_100).map(|n| format!("{{\"path\":\"/{n}\",\"kind\":\"job\"}}\n")).collect();
    let report = report(vec![records(b"processes", &lines), records(b"cron-jobs", &jobs)]);
    assert!(section(&report, "processes").contains("200 more in records/processes.jsonl"));
    assert!(section(&report, "cron").contains("100 more in records/cron-jobs.jsonl"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn no_text_of_a_host_changes_the_page(
        text in proptest::collection::vec(prop_oneof![
            any::<char>(), Just('<'), Just('>'), Just('"'), Just('&'), Just('\''), Just('\u{1b}')], 0..60),
    ) {
        let text: String = text.into_iter().chain("<script>x</script onerror=".chars()).collect();
        let value = serde_json::Value::from(text.as_str());
        let line = format!(
            "{{\"pid\":1,\"comm\":{0},\"cmdline\":[{0}],\"path\":{0},\"name\":{0},\"command\":{0},\
             \"kind\":\"job\",\"type\":{0},\"direction\":\"query\",\"place\":\"ld-preload\",\
             \"runs\":{0},\"file\":{{\"size_bytes\":1}},\"hostname\":{0},\"local_address\":{0},\
             \"item_name\":\"user-data/x\"}}\n", value);
        let sets: [&[u8]; 8] = [b"host", b"processes", b"sockets", b"cron-jobs", b"dns", b"volumes",
            b"persistence", b"user-data-parts"];
        let mut items: Vec<Given> = sets.into_iter().map(|set| records(set, &line)).collect();
        items.push(raw(b"user-data/x", text.as_bytes()));
        let (report, findings) = rendered(items);
        check(&report).map_err(TestCaseError::fail)?;
        prop_assert!(!report.contains("<script"));
        for line in findings.lines() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok());
        }
    }
}
