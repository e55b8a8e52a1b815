//! A store: a folder of cases and the key that signs their custody logs.

use crate::{
    case::{self, CASE_FILE, Case, CaseDraft, CaseInfo, LOCK_FILE},
    clock,
    custody::{self, CustodyLog, Signer},
    disk,
    error::{Context, StoreError},
    event::{Actor, Event, Tool, entry_bytes},
    reader::CaseReader,
};
use cleanroom_evidence::CaseId;
use serde_json::json;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A store on local disk.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    signer: Arc<Signer>,
}

impl Store {
    /// Opens the store at `root`; makes its folders (0700) and its key (0600) when they are not
    /// there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).context("make folder", parent)?;
        }
        let keys = root.join("keys");
        for dir in [root, &keys, &root.join("cases")] {
            disk::ensure_dir(dir)?;
        }
        let signer = Arc::new(Signer::open_or_create(&keys.join("custody.pk8"))?);
        Ok(Self { root: root.to_owned(), signer })
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key that signs the custody logs, and bundles.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    fn case_dir(&self, id: &CaseId) -> PathBuf {
        self.root.join("cases").join(id.as_str())
    }

    /// Makes a case and opens it. The case appears whole or not at all; one that exists is
    /// refused with [`StoreError::CaseExists`].
    pub fn create_case(&self, draft: CaseDraft) -> Result<Case, StoreError> {
        let (id, tool, dir) = (draft.id.clone(), draft.tool.clone(), self.case_dir(&draft.id));
        if fs::symlink_metadata(&dir).is_ok() {
            return Err(StoreError::CaseExists(id));
        }
        // No case id begins with a dot, so this is nobody's case.
        let building = dir.with_file_name(format!(".new-{id}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&building);
        let made = self.build_case(&building, draft).and_then(|()| disk::publish(&building, &dir));
        if !matches!(made, Ok(true)) {
            let _ = fs::remove_dir_all(&building);
        }
        if !made? {
            return Err(StoreError::CaseExists(id));
        }
        disk::sync_dir(&self.root.join("cases"))?;
        self.open_case(&id, tool)
    }

    fn build_case(&self, dir: &Path, draft: CaseDraft) -> Result<(), StoreError> {
        let custody_dir = dir.join("custody");
        let blobs = dir.join("blobs");
        for made in [
            dir,
            &blobs,
            &blobs.join("sha256"),
            &dir.join("sessions"),
            &dir.join("bundles"),
            &custody_dir,
        ] {
            disk::ensure_dir(made)?;
        }
        let lock = dir.join(LOCK_FILE);
        disk::create_new(&lock, 0o600).context("make", &lock)?;
        let info = CaseInfo::new(draft, clock::now());
        info.write(dir)?;
        let origin = custody::origin(&info.id);
        let mut log = CustodyLog::create(&custody_dir, origin, self.signer.clone())?;
        let actor = Actor { who: info.examiner.clone(), how: "case opening".to_owned() };
        let subject = json!({
            "case": info.id, "title": info.title, "examiner": info.examiner,
            "authority": info.authority, "quota_bytes": info.quota_bytes,
        });
        let event = Event::new("case.created", actor, subject);
        log.append(&[entry_bytes(&event, 0, &info.tool)])?;
        disk::sync_dir(dir)
    }

    /// Opens a case for writing: takes its lock ([`StoreError::CaseBusy`] when another process
    /// holds it), verifies the custody log, recovers what a crash left. `tool` is the program
    /// that acts.
    pub fn open_case(&self, id: &CaseId, tool: Tool) -> Result<Case, StoreError> {
        let reader = self.read_case(id)?;
        case::open(reader, self.signer.clone(), tool)
    }

    /// Opens a case for reading, also while another process writes it.
    pub fn read_case(&self, id: &CaseId) -> Result<CaseReader, StoreError> {
        let dir = self.case_dir(id);
        match fs::symlink_metadata(dir.join(CASE_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::CaseMissing(id.clone()))
            }
            _ => CaseReader::open(&dir, custody::verifier_key(&self.signer, id)),
        }
    }

    /// The ids of all cases, sorted.
    pub fn case_ids(&self) -> Result<Vec<CaseId>, StoreError> {
        let dir = self.root.join("cases");
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).context("list", &dir)? {
            let name = entry.context("list", &dir)?.file_name();
            let id = name.to_str().and_then(|name| name.parse::<CaseId>().ok());
            ids.extend(id.filter(|id| self.case_dir(id).join(CASE_FILE).is_file()));
        }
        ids.sort();
        Ok(ids)
    }
}
