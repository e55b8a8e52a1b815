//! Every parser of `/proc` text. The first byte says which one gets the rest.

#![no_main]

use cleanroom_sources::proc::{
    maps::MapsSummary,
    mounts,
    net::{Family, inet, other},
    stat, status,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 8 {
        0 => drop(stat::parse(rest)),
        1 => drop(status::parse(rest)),
        2 => {
            let mut maps = MapsSummary::default();
            rest.split(|&b| b == b'\n').for_each(|line| maps.add(line));
        }
        3 => drop(mounts::parse_mountinfo(rest)),
        4 => drop(mounts::parse_fstab(rest)),
        5 => drop(inet::parse(Family::Tcp6, rest)),
        6 => drop((other::unix(rest), other::packet(rest), other::netlink(rest))),
        _ => drop((other::igmp_interface(rest), other::inet6_interface(rest))),
    }
});
