//! Measurements beside their lower bounds.
