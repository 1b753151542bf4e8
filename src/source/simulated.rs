//! A wind speed that walks at random, for trying things out without a sensor.

use super::{Data, Error};
use fastrand::Rng;

/// Where the walk begins, in metres per second: the average of the sample that this program grew from.
const AVERAGE: f64 = 10.0;
/// The walk stays between calm and a hurricane.
const RANGE: std::ops::RangeInclusive<f64> = 0.0..=33.0;
/// The largest step between two samples, in metres per second.
const STEP: f64 = 0.5;

/// Gives `{"wind_speed_metres_per_second": 10.21}`.
#[derive(Debug)]
pub struct Wind {
    random: Rng,
    speed: f64,
}

impl Wind {
    /// The same seed gives the same walk; without one every run differs.
    pub fn new(seed: Option<u64>) -> Self {
        Self { random: seed.map_or_else(Rng::new, Rng::with_seed), speed: AVERAGE }
    }
}

impl super::Source for Wind {
    fn sample(&mut self) -> Result<Data, Error> {
        let step = (self.random.f64() * 2.0 - 1.0) * STEP;
        self.speed = (self.speed + step).clamp(*RANGE.start(), *RANGE.end());
        let rounded = (self.speed * 100.0).round() / 100.0;
        Ok(Data::from_iter([("wind_speed_metres_per_second".to_owned(), rounded.into())]))
    }

    fn may_block(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn walk(seed: Option<u64>) -> Vec<f64> {
        let mut wind = Wind::new(seed);
        (0..1000).map(|_| wind.sample().unwrap()["wind_speed_metres_per_second"].as_f64().unwrap()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_walk() {
        assert_eq!(walk(Some(7)), walk(Some(7)));
        assert_ne!(walk(Some(7)), walk(Some(8)));
        assert_ne!(walk(None), walk(None));
    }

    #[test]
    fn the_walk_stays_in_range_and_makes_small_steps() {
        let walk = walk(Some(1));

        assert!(walk.iter().all(|speed| RANGE.contains(speed)));
        assert!(walk.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= STEP + 0.011));
    }
}
