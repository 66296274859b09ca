//! What is fuzzed, over its seeds and over random bytes: `fuzz/run` goes on from here.
//!
//! The seeds of a target are in `seeds/<target>`; an input that once broke something stays there.

mod bodies;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Runs a body over its seeds, and says which of them breaks it.
fn replay(target: &str, body: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has seeds");
    for (name, seed) in seeds {
        let outcome = std::panic::catch_unwind(|| body(&seed));
        assert!(outcome.is_ok(), "seeds/{target}/{name}");
    }
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_corpus/seeds").join(target);
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Random bytes, or a seed in which some are replaced, inserted or cut off.
fn any_input(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let seeds: Vec<Vec<u8>> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let changed =
        (prop::sample::select(seeds), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
            for (at, byte, how) in changes {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 => bytes.insert(at, byte),
                    1 => bytes.truncate(at),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                }
            }
            bytes
        });
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..600), 4 => changed]
}

macro_rules! targets {
    ($($target:ident: $seeds:ident, $random:ident;)*) => {$(
        #[test]
        fn $seeds() {
            replay(stringify!($target), bodies::$target::run);
        }

        proptest! {
            #[test]
            fn $random(input in any_input(stringify!($target))) {
                bodies::$target::run(&input);
            }
        }
    )*};
}

targets! {
    frames: seeds_of_frames_hold, any_frames_hold;
    server: seeds_of_requests_hold, any_request_holds;
    client: seeds_of_responses_hold, any_response_holds;
    address: seeds_of_addresses_hold, any_address_holds;
    stream: seeds_of_streams_hold, any_stream_holds;
}

#[cfg(feature = "upgrade")]
targets! {
    upgrade: seeds_of_upgrades_hold, any_upgrade_holds;
    tampered: seeds_of_tampered_sessions_hold, any_tampered_session_holds;
}
