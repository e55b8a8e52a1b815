//! A ceiling on the bytes per second that leave the host: a suspect host may still serve people.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Sleeps as long as needed so that the rate stays under the ceiling, one second of slack.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: Option<u64>,
    free_at: Instant,
}

impl Throttle {
    /// `None`: no ceiling.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, free_at: Instant::now() }
    }

    /// Accounts for bytes that are about to leave; may sleep.
    pub fn pass(&mut self, bytes: usize) {
        let Some(rate) = self.bytes_per_second.filter(|rate| *rate > 0) else {
            return;
        };
        let now = Instant::now();
        let slack = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        let start = self.free_at.max(slack);
        self.free_at = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        if let Some(wait) = self.free_at.checked_duration_since(now) {
            sleep(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate() {
        let began = Instant::now();
        let mut throttle = Throttle::new(Some(1_000_000));
        for _ in 0..150 {
            throttle.pass(10_000);
        }
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    }
}
