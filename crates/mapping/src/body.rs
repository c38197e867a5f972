//! JSON bodies, written straight as text.

use std::io::Write as _;

/// The place of an attribute in a body: the objects around it and its own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    parents: Vec<Box<str>>,
    /// `"name":`
    name: Vec<u8>,
}

impl Place {
    /// The place of a dotted path.
    pub(crate) fn of(path: &str) -> Self {
        let mut parents: Vec<Box<str>> = path.split('.').map(Box::from).collect();
        let last = parents.pop().unwrap_or_default();
        let mut name = Vec::with_capacity(last.len() + 3);
        string(&mut name, &last);
        name.push(b':');
        Self { parents, name }
    }
}

/// A JSON object under construction. Attributes of one nested object have to arrive one after the other.
pub(crate) struct Body<'p> {
    out: Vec<u8>,
    open: &'p [Box<str>],
}

impl<'p> Body<'p> {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self { out, open: &[] }
    }

    /// Appends an attribute whose value is JSON text already.
    pub(crate) fn attribute(&mut self, place: &'p Place, value: &[u8]) {
        if self.open != place.parents.as_slice() {
            let common = self.open.iter().zip(&place.parents).take_while(|(one, other)| one == other).count();
            self.close(common);
            for parent in &place.parents[common..] {
                self.comma();
                string(&mut self.out, parent);
                self.out.extend_from_slice(b":{");
            }
            self.open = &place.parents;
        }
        self.comma();
        self.out.extend_from_slice(&place.name);
        self.out.extend_from_slice(value);
    }

    /// The finished object.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.close(0);
        self.out.push(b'}');
        self.out
    }

    fn close(&mut self, depth: usize) {
        self.out.resize(self.out.len() + self.open.len() - depth, b'}');
    }

    fn comma(&mut self) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
    }
}

/// Appends a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            // Writing to a vector cannot fail.
            _ => drop(write!(out, "\\u{byte:04x}")),
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}
