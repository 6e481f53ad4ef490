//! How well scores tell two kinds apart.

/// The chance that a score of the first kind is above one of the second; ties count half. The area under the ROC curve,
/// by ranks (Mann and Whitney, 1947). Nothing when a kind is missing.
#[must_use]
pub fn roc_auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut sum, mut positive) = (0.0, 0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let of_first = ties.iter().filter(|(_, first)| *first).count() as f64;
        let of_second = ties.len() as f64 - of_first;
        sum += of_first * (below + of_second / 2.0);
        below += of_second;
        positive += of_first;
    }
    (positive > 0.0 && below > 0.0).then(|| sum / (positive * below))
}

/// The mean of the precision at each of the first kind, from the highest score down; ties count together. Nothing when the
/// first kind is missing.
#[must_use]
pub fn average_precision(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut seen, mut positive, mut sum) = (0.0, 0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let of_first = ties.iter().filter(|(_, first)| *first).count() as f64;
        seen += ties.len() as f64;
        positive += of_first;
        sum += of_first * positive / seen;
    }
    (positive > 0.0).then(|| sum / positive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_tell_apart_and_scores_that_do_not() {
        let perfect = [(0.9, true), (0.8, true), (0.2, false), (0.1, false)];
        assert_eq!((roc_auc(&perfect), average_precision(&perfect)), (Some(1.0), Some(1.0)));
        let useless = [(0.5, true), (0.5, false), (0.5, false), (0.5, false)];
        assert_eq!((roc_auc(&useless), average_precision(&useless)), (Some(0.5), Some(0.25)));
        // Second of three: above one of two, and half of those down to it are right.
        let middle = [(0.9, false), (0.8, true), (0.2, false)];
        assert_eq!((roc_auc(&middle), average_precision(&middle)), (Some(0.5), Some(0.5)));
        assert_eq!(roc_auc(&[(0.1, true)]), None);
        assert_eq!(average_precision(&[(0.1, false)]), None);
    }
}
