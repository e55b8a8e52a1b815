//! The columns of each set. Names and units are those of the agent's records.

#![allow(missing_docs, reason = "the agent's sources define the columns")]

use super::lenient::{Flag, List, Number, Part, Text};
use serde::Deserialize;

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $column:ident: $kind:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default)]
        pub struct $name { $($(#[$attribute])* pub $column: $kind,)* }
    )+};
}

columns! {
    /// A line of `processes`.
    Process {
        pid: Number,
        ppid: Number,
        comm: Text,
        state: Text,
        start_time: Text,
        uid: Part<Ids>,
        exe: Part<Exe>,
        cmdline: List<Text>,
        cmdline_total_bytes: Number,
        environ: List<Text>,
        cwd: Text,
        kernel_thread: Flag,
        maps: Part<Maps>,
        tracer_pid: Number,
        covered_by_mount: Flag,
        exited_midway: Flag,
        unreadable: List<Part<Unreadable>>,
    }
    Ids { real: Number, effective: Number, }
    Exe { path: Text, deleted: Flag, memfd: Flag, sha256: Text, size_bytes: Number, }
    Maps {
        deleted: List<Text>,
        memfd: List<Text>,
        libraries: List<Text>,
        writable_executable: List<Text>,
    }
    Unreadable { what: Text, why: Text, }

    /// A line of `sockets`.
    Socket {
        netns: Number,
        family: Text,
        state: Text,
        local_address: Text,
        local_port: Number,
        remote_address: Text,
        remote_port: Number,
        uid: Number,
        owners: List<Part<Owner>>,
        protocol: Text,
    }
    Owner { pid: Number, comm: Text, fd: Number, }

    /// A line of `cron-jobs`.
    CronJob {
        path: Text,
        place: Text,
        line: Number,
        kind: Text,
        user: Text,
        schedule: Text,
        schedule_fields: Part<Schedule>,
        command: Text,
        command_total_bytes: Number,
        text: Text,
        environment: List<Part<Setting>>,
        file: Part<FileFacts>,
        would_run: Flag,
        why: Text,
        runs_on: Text,
        verdicts: List<Part<Verdict>>,
        next_run: Text,
        next_run_local: Text,
        notes: List<Text>,
    }
    Schedule { minute: Text, hour: Text, day_of_month: Text, month: Text, day_of_week: Text, }
    Setting { name: Text, value: Text, }
    Verdict { layout: Text, would_run: Flag, why: Text, }
    FileFacts {
        mode: Number,
        uid: Number,
        gid: Number,
        modified: Text,
        changed: Text,
        size_bytes: Number,
    }

    /// A line of `persistence`.
    Persistence {
        path: Text,
        place: Text,
        what: Text,
        user: Text,
        runs: Text,
        link_target: Text,
        file: Part<FileFacts>,
        sha256: Text,
    }

    /// A line of `user-data-parts`.
    UserDataPart {
        path: Text,
        part: Text,
        content_type: Text,
        #[serde(rename = "type")]
        kind: Text,
        filename: Text,
        encodings: List<Text>,
        size_bytes: Number,
        sha256: Text,
        item_name: Text,
        notes: List<Text>,
        urls: List<Text>,
    }

    /// A line of `cloud-init`.
    CloudInit {
        instance_id: Text,
        previous_instance_ids: List<Text>,
        datasource: Text,
        boot_finished: Text,
        boot_finished_time: Text,
        errors: List<Text>,
        imds_state: Text,
        imds_why: Text,
    }

    /// A line of `dns`.
    Dns {
        time: Text,
        direction: Text,
        transport: Text,
        port: Number,
        client_address: Text,
        server_address: Text,
        name: Text,
        #[serde(rename = "type")]
        kind: Text,
        rcode: Text,
        answers: List<Part<Answer>>,
        process: Part<Asker>,
        attribution: Text,
        malformed: Text,
    }
    Answer { name: Text, #[serde(rename = "type")] kind: Text, data: Text, }
    Asker { pid: Number, comm: Text, exe: Text, uid: Number, }

    /// The line of `dns-watch-summary`.
    DnsSummary {
        packets: Number,
        queries: Number,
        answers: Number,
        attributed: Number,
        drops_kernel: Number,
        drops_memory: Number,
        malformed: Number,
    }

    /// A line of `dns-config`.
    DnsConfig { path: Text, kind: Text, key: Text, value: Text, }

    /// A line of `dns-cache`.
    DnsCache { name: Text, #[serde(rename = "type")] kind: Text, data: Text, result: Text, }

    /// A line of `volumes`.
    Volume {
        path: Text,
        device: Text,
        name: Text,
        serial: Text,
        ebs_volume_id: Text,
        size_bytes: Number,
        sector_bytes: Number,
        hashed: Flag,
        sha256: Text,
        block_bytes: Number,
        blocks: Number,
        blocks_item: Text,
        filled_blocks_total: Number,
        errors_total: Number,
        errors: List<Part<Fault>>,
        mounted_at: List<Text>,
        written_meanwhile_bytes: Number,
        changed_meanwhile: Flag,
        partition_table: Part<Table>,
        unreadable: List<Part<Unreadable>>,
    }
    Fault { offset_bytes: Number, length_bytes: Number, errno: Number, why: Text, }
    Table { kind: Text, disk_id: Text, partitions: List<Part<Partition>>, notes: List<Text>, }
    Partition {
        index: Number,
        #[serde(rename = "type")]
        kind: Text,
        name: Text,
        guid: Text,
        start_bytes: Number,
        size_bytes: Number,
        bootable: Flag,
    }

    /// The line of `host`.
    HostFacts {
        live: Flag,
        hostname: Text,
        os_release: Part<OsRelease>,
        kernel_release: Text,
        kernel_version: Text,
        kernel_tainted: Text,
        lockdown: Text,
        architecture: Text,
        boot_id: Text,
        boot_time: Text,
        uptime_seconds: Number,
        clock: Part<HostClock>,
        command_line: Text,
        timezone: Text,
        machine_id: Text,
        instance: Part<Instance>,
        imds_state: Text,
        dmi: Part<Dmi>,
    }
    OsRelease { id: Text, version_id: Text, pretty_name: Text, }
    HostClock { utc: Text, boottime_ns: Number, }
    Instance {
        instance_id: Text,
        account_id: Text,
        region: Text,
        availability_zone: Text,
        image_id: Text,
        instance_type: Text,
        private_ip: Text,
    }
    Dmi { sys_vendor: Text, product_name: Text, board_asset_tag: Text, }

    /// A line of `users`.
    User { name: Text, uid: Number, gid: Number, home: Text, shell: Text, locked: Flag, }

    /// A line of `interfaces`.
    Interface { name: Text, mac: Text, state: Text, addresses: List<Text>, }

    /// A line of `block-devices`.
    BlockDevice {
        name: Text,
        size_bytes: Number,
        serial: Text,
        model: Text,
        ebs_volume_id: Text,
        partitions: List<Part<BlockPartition>>,
    }
    BlockPartition { name: Text, size_bytes: Number, }
}
