//! Observations on their way between replicas: the form's version, then records.

use super::record;
use crate::anomaly::observation::Observation;

/// The version of the form. Others are not read.
const VERSION: u8 = 1;

/// A batch without observations.
#[must_use]
pub fn empty() -> Vec<u8> {
    vec![VERSION]
}

/// Appends an observation to a batch.
pub fn push(batch: &mut Vec<u8>, observation: &Observation<'_>) {
    record::write(batch, observation);
}

/// These bytes are no batch, or end within an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no batch of observations in a form that this version reads, or they are damaged")]
pub struct Malformed;

/// The observations of a batch, in the order of their times.
///
/// # Errors
/// [`Malformed`], whatever the bytes are; then nothing of them counts.
pub fn read(batch: &[u8]) -> Result<Vec<Observation<'_>>, Malformed> {
    let Some((&VERSION, mut rest)) = batch.split_first() else { return Err(Malformed) };
    let mut observations = Vec::new();
    while !rest.is_empty() {
        let (observation, after) = record::read(rest).ok_or(Malformed)?;
        observations.push(observation);
        rest = after;
    }
    observations.sort_by_key(|observation| observation.at);
    Ok(observations)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::clock::Micros;

    fn batch(times: &[u64]) -> Vec<u8> {
        let mut batch = empty();
        for at in times {
            push(&mut batch, &Observation { at: Micros(*at), domain: "edge", path: "/a", ..Observation::default() });
        }
        batch
    }

    #[test]
    fn observations_come_in_the_order_of_their_times() {
        let batch = batch(&[3, 1, 2]);
        let times: Vec<u64> = read(&batch).unwrap().iter().map(|observation| observation.at.0).collect();
        assert_eq!(times, [1, 2, 3]);
        assert_eq!(read(&empty()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_cut_off_or_of_another_version_is_refused() {
        let whole = batch(&[1, 2]);
        let ends = [1, 1 + (whole.len() - 1) / 2, whole.len()];
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).is_ok(), ends.contains(&end), "{end}");
        }
        let mut other = whole;
        other[0] = 2;
        assert_eq!(read(&other), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400), change in any::<(usize, u8)>()) {
            let _ = read(&bytes);
            let mut damaged = batch(&[1, 2, 3]);
            let place = change.0 % damaged.len();
            damaged[place] ^= change.1;
            let _ = read(&damaged);
        }
    }
}
