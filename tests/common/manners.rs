//! IOs of all kinds, for properties.

use proptest::prelude::*;

use crate::common::pipe::Manner;

/// An IO of any capacity and any manners that a stream has to get along with.
pub fn any_manner() -> impl Strategy<Value = Manner> {
    let chunk = prop_oneof![Just(1), 1usize..9, 1usize..5000, Just(usize::MAX)];
    let capacity = prop_oneof![Just(1usize), 1usize..300, Just(1 << 20)];
    (capacity, chunk, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(capacity, chunk, stutter, until_flush, vectored)| Manner {
            capacity,
            chunk,
            stutter,
            until_flush,
            vectored,
            ..Manner::GOOD
        },
    )
}
