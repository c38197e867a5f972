//! Clock, sleep, randomness and back-off behind traits: the only crate that reads the real clock.
