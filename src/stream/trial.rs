//! Learning whether something pays with the IO at hand.

/// Whether something pays with this IO, by the first two times.
///
/// Two, for once may be chance, a socket that is nearly full or nearly empty. Where it has paid it is not judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    Untried,
    /// The first time it did not.
    TriedOnce,
    Pays,
    DoesNotPay,
}

impl Trial {
    /// After a time when it paid or did not.
    #[must_use]
    pub(super) fn after(self, paid: bool) -> Self {
        match self {
            Trial::Untried | Trial::TriedOnce if paid => Trial::Pays,
            Trial::Untried => Trial::TriedOnce,
            Trial::TriedOnce => Trial::DoesNotPay,
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_paid_once_pays_and_what_did_not_twice_does_not() {
        let after = |times: &[bool]| times.iter().fold(Trial::Untried, |trial, paid| trial.after(*paid));
        assert_eq!(after(&[false]), Trial::TriedOnce);
        for times in [&[true, false, false][..], &[false, true, false, false]] {
            assert_eq!(after(times), Trial::Pays);
        }
        assert_eq!(after(&[false, false, true]), Trial::DoesNotPay);
    }
}
