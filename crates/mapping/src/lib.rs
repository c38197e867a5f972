//! Field mappings, replacements, filters and type conversion as data: pure and fast.
