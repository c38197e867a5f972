//! Host programs: `quickstart` shows everything at work on a sandbox, `embed_minimal` is the shortest host, `preview_mapping` shows one
//! record on its way.
