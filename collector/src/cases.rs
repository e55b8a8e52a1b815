//! The cases that this process has open for writing. A case is locked while somebody uses it and
//! free as soon as nobody does, so that `cleanroom bundle` can run beside `cleanroom serve`.

use cleanroom_evidence::CaseId;
use cleanroom_store::{Case, Store, StoreError, Tool};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Opens cases once and shares them.
pub struct Cases {
    store: Store,
    tool: Tool,
    open: Mutex<HashMap<CaseId, Weak<Case>>>,
}

impl Cases {
    /// Over a store, acting as `tool`.
    pub fn new(store: Store, tool: Tool) -> Self {
        Self { store, tool, open: Mutex::default() }
    }

    /// The case, opened now if nobody has it open.
    pub fn get(&self, id: &CaseId) -> Result<Arc<Case>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(case) = open.get(id).and_then(Weak::upgrade) {
            return Ok(case);
        }
        let case = Arc::new(self.store.open_case(id, self.tool.clone())?);
        open.retain(|_, case| case.strong_count() > 0);
        open.insert(id.clone(), Arc::downgrade(&case));
        Ok(case)
    }

    /// Makes known a case that the caller has opened.
    pub fn share(&self, case: &Arc<Case>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(case.reader().info().id.clone(), Arc::downgrade(case));
    }
}
