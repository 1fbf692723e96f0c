//! Who is measured, behind one face.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::board::{Board, Source};
use crate::ours::Ours;
use crate::over_tarpc::{Blob, Buffers, OverTarpc};
use crate::raw::Raw;
use crate::road::Road;

/// Who is measured; the first of a scenario is `multicast`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ours,
    Secure,
    Raw,
    Blob,
    Buffers,
}

impl Kind {
    /// The whole beside what it stands on.
    pub(crate) const FLOORS: &[Self] = &[Self::Ours, Self::Raw, Self::Blob, Self::Buffers];
    /// What identities cost.
    pub(crate) const SECURITY: &[Self] = &[Self::Ours, Self::Secure];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "multicast",
            Self::Secure => "multicast, mTLS",
            Self::Raw => "raw TCP",
            Self::Blob => "tarpc, flat blob",
            Self::Buffers => "tarpc, byte buffers",
        }
    }
}

/// A mesh that is open.
pub(crate) struct Contestant {
    pub(crate) board: Arc<Board>,
    mesh: Mesh,
}

enum Mesh {
    Ours(Ours),
    Raw(Raw),
    Blob(OverTarpc<Blob>),
    Buffers(OverTarpc<Buffers>),
}

impl Contestant {
    pub(crate) async fn open(kind: Kind, members: usize, payload: usize, road: Road) -> Result<Self, String> {
        let board = Board::new(members, payload);
        let told = |error: std::io::Error| error.to_string();
        let mesh = match kind {
            Kind::Ours => Mesh::Ours(Ours::open(&board, road, None).await?),
            Kind::Secure => Mesh::Ours(Ours::open(&board, road, Some(&Authority::new())).await?),
            Kind::Raw => Mesh::Raw(Raw::open(&board, road).await.map_err(told)?),
            Kind::Blob => Mesh::Blob(OverTarpc::open(&board, road).await.map_err(told)?),
            Kind::Buffers => Mesh::Buffers(OverTarpc::open(&board, road).await.map_err(told)?),
        };
        Ok(Self { board, mesh })
    }

    /// Bytes of frames written so far, answers included.
    pub(crate) fn written(&self) -> u64 {
        match &self.mesh {
            Mesh::Ours(mesh) => mesh.written(),
            Mesh::Raw(mesh) => mesh.written(),
            Mesh::Blob(mesh) => mesh.written(),
            Mesh::Buffers(mesh) => mesh.written(),
        }
    }

    /// Lets one member say what the source has.
    pub(crate) fn say(&self, me: usize, source: Source, tasks: &mut JoinSet<()>) {
        match &self.mesh {
            Mesh::Ours(mesh) => tasks.spawn(mesh.say(me, &self.board, source)),
            Mesh::Raw(mesh) => tasks.spawn(mesh.say(me, source)),
            Mesh::Blob(mesh) => tasks.spawn(mesh.say(me, source)),
            Mesh::Buffers(mesh) => tasks.spawn(mesh.say(me, source)),
        };
    }

    /// Judges what can be judged beyond counts; how many deliveries that were, if any.
    pub(crate) fn check_sample(&self) -> Result<Option<usize>, String> {
        match &self.mesh {
            Mesh::Ours(mesh) => mesh.check_sample().map(Some),
            _ => Ok(None),
        }
    }
}
