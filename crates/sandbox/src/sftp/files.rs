//! The server's files, in memory: folders, files, and links for those who want to see them refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh_sftp::protocol::{FileAttributes, StatusCode};

/// Content and time of one file. An open handle keeps it when its name goes, as on any Unix.
#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) content: Vec<u8>,
    pub(super) modified: i64,
}

pub(super) type SharedInode = Arc<Mutex<Inode>>;

#[derive(Debug, Clone)]
enum Node {
    Folder,
    File(SharedInode),
    Link(String),
}

/// All files by absolute path.
#[derive(Debug)]
pub struct Files {
    nodes: Mutex<BTreeMap<String, Node>>,
}

/// One file as the control interface shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FileLine {
    /// Absolute path.
    pub path: String,
    /// Bytes.
    pub size: usize,
    /// Seconds since 1970, by the sandbox's clock.
    pub modified: i64,
}

pub(super) fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The absolute path without `.`, `..` and empty parts. Users land in `/`.
pub(super) fn absolute(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn attributes_of(node: &Node) -> FileAttributes {
    let (permissions, size, modified) = match node {
        Node::Folder => (0o040_755, 4096, 0),
        Node::Link(target) => (0o120_777, target.len(), 0),
        Node::File(inode) => {
            let inode = locked(inode);
            (0o100_640, inode.content.len(), inode.modified)
        }
    };
    let seconds = u32::try_from(modified).unwrap_or(0);
    FileAttributes {
        size: Some(size as u64),
        uid: Some(1000),
        gid: Some(1000),
        permissions: Some(permissions),
        atime: Some(seconds),
        mtime: Some(seconds),
        ..FileAttributes::empty()
    }
}

impl Files {
    pub(super) fn with_folders(folders: &[&str]) -> Self {
        let mut nodes = BTreeMap::from([("/".to_owned(), Node::Folder)]);
        for folder in folders {
            let mut path = String::new();
            for part in folder.split('/').filter(|part| !part.is_empty()) {
                path.push('/');
                path.push_str(part);
                nodes.insert(path.clone(), Node::Folder);
            }
        }
        Self { nodes: Mutex::new(nodes) }
    }

    /// Puts a file, in place of the one that is there.
    ///
    /// # Errors
    /// When there is no such folder, or something else than a file has the name.
    pub fn put(&self, path: &str, content: Vec<u8>, modified: i64) -> Result<(), String> {
        let path = absolute(path);
        let mut nodes = locked(&self.nodes);
        match (nodes.get(parent(&path)), nodes.get(&path)) {
            (Some(Node::Folder), None | Some(Node::File(_))) => {}
            (Some(Node::Folder), Some(_)) => return Err(format!("{path} is no file")),
            _ => return Err(format!("no folder {}", parent(&path))),
        }
        nodes.insert(path, Node::File(Arc::new(Mutex::new(Inode { content, modified }))));
        Ok(())
    }

    /// The content of a file.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        match locked(&self.nodes).get(&absolute(path)) {
            Some(Node::File(inode)) => Some(locked(inode).content.clone()),
            _ => None,
        }
    }

    /// Puts a link.
    pub fn link(&self, path: &str, target: &str) {
        locked(&self.nodes).insert(absolute(path), Node::Link(absolute(target)));
    }

    /// All files by path.
    pub fn list(&self) -> Vec<FileLine> {
        let line = |(path, node): (&String, &Node)| match node {
            Node::File(inode) => {
                let inode = locked(inode);
                Some(FileLine { path: path.clone(), size: inode.content.len(), modified: inode.modified })
            }
            _ => None,
        };
        locked(&self.nodes).iter().filter_map(line).collect()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        locked(&self.nodes).contains_key(&absolute(path))
    }

    /// Attributes; `follow` looks at what a link leads to.
    pub(super) fn attributes(&self, path: &str, follow: bool) -> Result<FileAttributes, StatusCode> {
        let nodes = locked(&self.nodes);
        let node = nodes.get(&absolute(path)).ok_or(StatusCode::NoSuchFile)?;
        match node {
            Node::Link(target) if follow => nodes.get(target).map(attributes_of).ok_or(StatusCode::NoSuchFile),
            node => Ok(attributes_of(node)),
        }
    }

    pub(super) fn of_inode(inode: &SharedInode) -> FileAttributes {
        attributes_of(&Node::File(inode.clone()))
    }

    /// Opens a file, following links as servers do.
    pub(super) fn open(
        &self,
        path: &str,
        create: bool,
        exclusive: bool,
        truncate: bool,
        now: i64,
    ) -> Result<SharedInode, StatusCode> {
        let path = absolute(path);
        let mut nodes = locked(&self.nodes);
        let mut node = nodes.get(&path).cloned();
        if let Some(Node::Link(target)) = &node
            && !exclusive
        {
            node = nodes.get(target).cloned();
        }
        match node {
            Some(_) if create && exclusive => Err(StatusCode::Failure),
            Some(Node::File(inode)) => {
                if truncate {
                    *locked(&inode) = Inode { content: Vec::new(), modified: now };
                }
                Ok(inode)
            }
            Some(_) => Err(StatusCode::Failure),
            None if create && matches!(nodes.get(parent(&path)), Some(Node::Folder)) => {
                let inode = SharedInode::new(Mutex::new(Inode { content: Vec::new(), modified: now }));
                nodes.insert(path, Node::File(inode.clone()));
                Ok(inode)
            }
            None => Err(StatusCode::NoSuchFile),
        }
    }

    /// Names and attributes of a folder.
    pub(super) fn entries(&self, path: &str) -> Result<Vec<(String, FileAttributes)>, StatusCode> {
        let path = absolute(path);
        let nodes = locked(&self.nodes);
        match nodes.get(&path) {
            Some(Node::Folder) => {}
            Some(_) => return Err(StatusCode::Failure),
            None => return Err(StatusCode::NoSuchFile),
        }
        let prefix = if path == "/" { path } else { format!("{path}/") };
        let inside = |(child, node): (&String, &Node)| {
            let name = child.strip_prefix(&prefix)?;
            (!name.is_empty() && !name.contains('/')).then(|| (name.to_owned(), attributes_of(node)))
        };
        Ok(nodes.iter().filter_map(inside).collect())
    }

    pub(super) fn make_folder(&self, path: &str) -> Result<(), StatusCode> {
        let path = absolute(path);
        let mut nodes = locked(&self.nodes);
        match (nodes.get(parent(&path)), nodes.get(&path)) {
            (Some(Node::Folder), None) => drop(nodes.insert(path, Node::Folder)),
            (Some(Node::Folder), Some(_)) => return Err(StatusCode::Failure),
            _ => return Err(StatusCode::NoSuchFile),
        }
        Ok(())
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), StatusCode> {
        let path = absolute(path);
        let mut nodes = locked(&self.nodes);
        match nodes.get(&path) {
            Some(Node::Folder) => Err(StatusCode::Failure),
            Some(_) => {
                nodes.remove(&path);
                Ok(())
            }
            None => Err(StatusCode::NoSuchFile),
        }
    }

    /// Renames a file; a name that is taken is refused, as version 3 of the protocol has it.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StatusCode> {
        let (from, to) = (absolute(from), absolute(to));
        let mut nodes = locked(&self.nodes);
        if nodes.contains_key(&to) {
            return Err(StatusCode::Failure);
        }
        if !matches!(nodes.get(parent(&to)), Some(Node::Folder)) {
            return Err(StatusCode::NoSuchFile);
        }
        match nodes.get(&from) {
            Some(Node::Folder) => return Err(StatusCode::OpUnsupported),
            Some(_) => {}
            None => return Err(StatusCode::NoSuchFile),
        }
        if let Some(node) = nodes.remove(&from) {
            nodes.insert(to, node);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (given, meant) in [(".", "/"), ("a/b", "/a/b"), ("/a/../../b/", "/b"), ("../../etc", "/etc"), ("", "/")] {
            assert_eq!(absolute(given), meant);
        }
        assert_eq!((parent("/a"), parent("/a/b"), parent("/")), ("/", "/a", "/"));
    }

    #[test]
    fn a_taken_name_is_neither_created_nor_renamed_to() {
        let files = Files::with_folders(&["in"]);
        files.put("in/a", b"1".to_vec(), 5).unwrap();
        files.put("in/b", b"2".to_vec(), 5).unwrap();
        assert!(files.open("in/a", true, true, false, 6).is_err());
        assert_eq!(files.rename("in/a", "in/b"), Err(StatusCode::Failure));
        assert_eq!(files.rename("in/a", "out/a"), Err(StatusCode::NoSuchFile));
        files.rename("in/a", "in/c").unwrap();
        assert_eq!(files.content("/in/c").unwrap(), b"1");
        assert!(files.put("out/x", Vec::new(), 0).is_err() && files.put("in", Vec::new(), 0).is_err());
    }

    #[test]
    fn a_link_is_seen_as_one_and_followed_when_opened() {
        let files = Files::with_folders(&["in"]);
        files.put("secret", b"s".to_vec(), 5).unwrap();
        files.link("in/a", "secret");
        let mode = |follow| files.attributes("in/a", follow).unwrap().permissions.unwrap() & 0o170_000;
        assert_eq!((mode(false), mode(true)), (0o120_000, 0o100_000));
        assert_eq!(locked(&files.open("in/a", false, false, false, 6).unwrap()).content, b"s");
    }
}
