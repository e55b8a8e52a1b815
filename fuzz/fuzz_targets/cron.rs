//! Any bytes as a crontab: no panic, every part of a job lies in its line, and a next run fits the
//! schedule in a zone without clock changes.

#![no_main]

use cleanroom_sources::cron::{
    Layout,
    parse::{Entry, Form, Table, split_input},
    schedule::When,
};
use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let form = if choice & 1 == 0 {
        Form::User
    } else {
        Form::System
    };
    let after = Timestamp::UNIX_EPOCH;
    let table = Table::parse(text, form, 100, choice & 2 == 0);
    for line in &table.lines {
        for layout in Layout::ALL {
            let Ok(Entry::Job(job)) = line.by(layout) else {
                continue;
            };
            assert!(line.text.ends_with(job.command));
            let (program, input) = split_input(job.command);
            assert_eq!(
                program.len() + input.map_or(0, |input| input.len() + 1),
                job.command.len()
            );
            let When::At(schedule) = &job.when else {
                continue;
            };
            if let Some(next) = schedule.next_run(after, &TimeZone::UTC) {
                assert!(next > after && schedule.matches(TimeZone::UTC.to_datetime(next)));
            }
        }
    }
});
