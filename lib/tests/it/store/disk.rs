//! A disk that loses power: SQLite's own code runs on it.
//!
//! What was written and not synced is there after a loss of power or not, each write by itself, as a whole or some of its
//! sectors or up to some byte. A file that was never synced may be gone. That a file was deleted is not forgotten, as
//! SQLite syncs the directory where it matters.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard};

use sqlite_plugin::flags::{AccessFlags, LockLevel, OpenOpts, ShmLockMode};
use sqlite_plugin::vars;
use sqlite_plugin::vfs::{RegisterOpts, Vfs, VfsHandle, VfsResult, register_static};

use crate::sim::Rng;

/// What a disk writes as one, or not at all.
const SECTOR: usize = 512;

/// The disk under all files that are opened with the VFS `NAME`.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    files: BTreeMap<String, File>,
    /// Shared memory of a database, which a loss of power empties.
    shared: BTreeMap<String, Vec<&'static [AtomicU8]>>,
    /// How many more writes and syncs there are until the power is lost.
    left: u64,
}

#[derive(Clone, Default)]
struct File {
    /// What is read.
    now: Vec<u8>,
    /// What survives for certain; none: not even the name.
    synced: Option<Vec<u8>>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// An open file.
pub(crate) struct Handle {
    name: String,
    delete: bool,
}

pub(crate) const NAME: &str = "a disk that loses power";

impl Disk {
    /// An empty one, on which files are opened by [`NAME`]. Once a process.
    pub(crate) fn register() -> Self {
        let disk = Self::default();
        let name = CString::new(NAME).expect("no zero in it");
        let done = register_static(name, disk.clone(), RegisterOpts { make_default: false });
        done.map(drop).expect("registered");
        disk
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        *self.platter() = Platter::default();
    }

    /// Power for so many writes and syncs.
    pub(crate) fn power(&self, for_changes: u64) {
        self.platter().left = for_changes;
    }

    /// The power is lost, and what is on the disk now is what was written, more or less.
    pub(crate) fn cut(&self, rng: &mut Rng) {
        let mut platter = self.platter();
        platter.shared.clear();
        let files = std::mem::take(&mut platter.files);
        let after = files
            .into_iter()
            .filter_map(|(name, file)| Some((name, file.after_cut(rng)?)));
        platter.files = after.collect();
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("never held over a panic")
    }
}

impl Platter {
    fn file(&mut self, handle: &Handle) -> VfsResult<&mut File> {
        self.files.get_mut(&handle.name).ok_or(vars::SQLITE_IOERR)
    }

    /// One change more, if there is power for it.
    fn change(&mut self) -> VfsResult<()> {
        self.left = self.left.checked_sub(1).ok_or(vars::SQLITE_IOERR)?;
        Ok(())
    }
}

impl File {
    fn after_cut(self, rng: &mut Rng) -> Option<Self> {
        if self.synced.is_none() && rng.percent(50) {
            return None;
        }
        let mut content = self.synced.unwrap_or_default();
        // Some disks lose and tear what was under way, some had written all of it and only did not say so.
        let keep = if rng.percent(30) { 100 } else { rng.below(101) };
        let (last, tears) = (self.unsynced.len(), rng.percent(60));
        for (nth, change) in self.unsynced.iter().enumerate() {
            if !rng.percent(keep) {
                continue;
            }
            match change {
                Change::Truncate(size) => content.resize(*size, 0),
                Change::Write(at, data) if tears && rng.percent(if nth + 1 == last { 50 } else { 20 }) => {
                    torn(&mut content, *at, data, rng)
                }
                Change::Write(at, data) => write(&mut content, *at, data),
            }
        }
        Some(Self {
            now: content.clone(),
            synced: Some(content),
            unsynced: Vec::new(),
        })
    }
}

/// A write of which only some arrived: up to a byte, or any of its sectors.
fn torn(content: &mut Vec<u8>, at: usize, data: &[u8], rng: &mut Rng) {
    if rng.percent(50) {
        let length = rng.below(data.len() as u64 + 1) as usize;
        return write(content, at, &data[..length]);
    }
    for (nth, sector) in data.chunks(SECTOR).enumerate() {
        if rng.percent(50) {
            write(content, at + nth * SECTOR, sector);
        }
    }
}

fn write(content: &mut Vec<u8>, at: usize, data: &[u8]) {
    if content.len() < at + data.len() {
        content.resize(at + data.len(), 0);
    }
    content[at..][..data.len()].copy_from_slice(data);
}

impl VfsHandle for Handle {
    fn readonly(&self) -> bool {
        false
    }

    fn in_memory(&self) -> bool {
        false
    }
}

impl Vfs for Disk {
    type Handle = Handle;

    fn open(&self, path: Option<&str>, opts: OpenOpts) -> VfsResult<Handle> {
        let name = path.unwrap_or("(unnamed)").to_owned();
        self.platter().files.entry(name.clone()).or_default();
        let delete = opts.delete_on_close() || path.is_none();
        Ok(Handle { name, delete })
    }

    fn delete(&self, path: &str) -> VfsResult<()> {
        let mut platter = self.platter();
        platter.change()?;
        platter.files.remove(path);
        Ok(())
    }

    fn access(&self, path: &str, _: AccessFlags) -> VfsResult<bool> {
        Ok(self.platter().files.contains_key(path))
    }

    fn file_size(&self, handle: &mut Handle) -> VfsResult<usize> {
        Ok(self.platter().file(handle)?.now.len())
    }

    fn truncate(&self, handle: &mut Handle, size: usize) -> VfsResult<()> {
        let mut platter = self.platter();
        platter.change()?;
        let file = platter.file(handle)?;
        file.now.resize(size, 0);
        file.unsynced.push(Change::Truncate(size));
        Ok(())
    }

    fn write(&self, handle: &mut Handle, offset: usize, data: &[u8]) -> VfsResult<usize> {
        let mut platter = self.platter();
        let powered = platter.change();
        let file = platter.file(handle)?;
        // The one during which the power is lost is under way.
        if file.unsynced.last().is_some() || powered.is_ok() {
            file.unsynced.push(Change::Write(offset, data.to_vec()));
        }
        powered?;
        write(&mut file.now, offset, data);
        Ok(data.len())
    }

    fn read(&self, handle: &mut Handle, offset: usize, data: &mut [u8]) -> VfsResult<usize> {
        let mut platter = self.platter();
        let file = platter.file(handle)?;
        let there = file.now.get(offset..).unwrap_or_default();
        let length = there.len().min(data.len());
        data[..length].copy_from_slice(&there[..length]);
        Ok(length)
    }

    fn lock(&self, _: &mut Handle, _: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn unlock(&self, _: &mut Handle, _: LockLevel) -> VfsResult<()> {
        Ok(())
    }

    fn check_reserved_lock(&self, _: &mut Handle) -> VfsResult<bool> {
        Ok(false)
    }

    fn sync(&self, handle: &mut Handle) -> VfsResult<()> {
        let mut platter = self.platter();
        platter.change()?;
        let file = platter.file(handle)?;
        file.synced = Some(file.now.clone());
        file.unsynced.clear();
        Ok(())
    }

    fn close(&self, handle: Handle) -> VfsResult<()> {
        if handle.delete {
            self.platter().files.remove(&handle.name);
        }
        Ok(())
    }

    fn device_characteristics(&self, _: &mut Handle) -> VfsResult<i32> {
        // What SQLite takes for granted of every disk.
        Ok(vars::SQLITE_IOCAP_POWERSAFE_OVERWRITE)
    }

    fn sector_size(&self, _: &mut Handle) -> VfsResult<i32> {
        Ok(SECTOR as i32)
    }

    fn shm_map(&self, handle: &mut Handle, nth: usize, size: usize, extend: bool) -> VfsResult<Option<NonNull<u8>>> {
        let mut platter = self.platter();
        let regions = platter.shared.entry(handle.name.clone()).or_default();
        while extend && regions.len() <= nth {
            // SQLite keeps the address, for how long nobody says; 32 KiB a case are given away.
            let region: Box<[AtomicU8]> = (0..size).map(|_| AtomicU8::new(0)).collect();
            regions.push(Box::leak(region));
        }
        Ok(regions.get(nth).map(|region| NonNull::from(*region).cast()))
    }

    fn shm_lock(&self, _: &mut Handle, _: u32, _: u32, _: ShmLockMode) -> VfsResult<()> {
        Ok(())
    }

    fn shm_unmap(&self, handle: &mut Handle, _: bool) -> VfsResult<()> {
        self.platter().shared.remove(&handle.name);
        Ok(())
    }
}
