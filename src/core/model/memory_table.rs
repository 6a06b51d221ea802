//! What of a Spark's memory is needed, free and held, as a plan shows it.

use serde::{Deserialize, Serialize};

use super::{name::SparkName, object::Object};

/// One Spark in the memory table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MemoryRow {
    pub spark: SparkName,
    pub total_bytes: u64,
    /// At the look that the plan was made from.
    #[serde(default)]
    pub available_bytes: u64,
    /// `None` when that is not known.
    pub needed_bytes: Option<u64>,
    /// Where the need comes from.
    pub basis: String,
    pub floor_bytes: u64,
    #[serde(default)]
    pub fit: MemoryFit,
    /// The same as a person reads it: `fits, 31 GiB to spare`.
    #[serde(default)]
    pub verdict: String,
    /// Who is on the GPU there.
    pub holders: Vec<GpuOccupant>,
}

/// A process on the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GpuOccupant {
    pub name: String,
    pub pid: u32,
    /// `None` when the driver does not tell.
    pub bytes: Option<u64>,
    pub of: GpuOccupantOwner,
    /// It is stopped before the model starts.
    pub goes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GpuOccupantOwner {
    /// A slot of the file.
    Slot(Object),
    /// A service of the file.
    Service(Object),
    /// The screen.
    Desktop,
    /// Nothing in the file.
    Unmanaged,
}

impl GpuOccupant {
    pub fn who(&self) -> String {
        let of = match &self.of {
            GpuOccupantOwner::Slot(object) | GpuOccupantOwner::Service(object) => format!("`{object}`"),
            GpuOccupantOwner::Desktop => "the desktop".into(),
            GpuOccupantOwner::Unmanaged => "nothing in the file".into(),
        };
        format!("{} ({}) of {of}", self.name, self.pid)
    }
}

impl std::fmt::Display for GpuOccupant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.who())?;
        match self.bytes {
            Some(bytes) => write!(f, ", {}", gib(bytes))?,
            None => write!(f, ", size not told")?,
        }
        if self.goes { write!(f, ", goes first") } else { Ok(()) }
    }
}

/// Whether a model fits on a Spark, once what goes is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum MemoryFit {
    Fits {
        spare_bytes: u64,
    },
    TooLarge {
        asks_bytes: u64,
        /// Beside what stays free and what others hold or are to hold.
        can_be_free_bytes: u64,
        /// Who has the rest, as a person reads it; empty for nobody.
        others: String,
        /// What to set in the file.
        mend: String,
    },
    /// What it needs is not known, and why.
    Unknown {
        why: String,
    },
}

/// Of a plan of before there were verdicts.
impl Default for MemoryFit {
    fn default() -> Self {
        Self::Unknown { why: "not known".into() }
    }
}

impl std::fmt::Display for MemoryFit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fits { spare_bytes } => write!(f, "fits, {} to spare", whole_gib(*spare_bytes)),
            Self::TooLarge { asks_bytes, can_be_free_bytes, others, mend } => {
                let (asks, free) = (whole_gib(*asks_bytes), whole_gib(*can_be_free_bytes));
                // Two figures that look the same are no reason.
                if asks == free {
                    write!(f, "asks for {}, {} can be free", gib(*asks_bytes), gib(*can_be_free_bytes))?;
                } else {
                    write!(f, "asks for {asks}, {} can be free", free.trim_end_matches(" GiB"))?;
                }
                if !others.is_empty() {
                    write!(f, " beside {others}")?;
                }
                write!(f, ": {mend}")
            }
            Self::Unknown { why } => f.write_str(why),
        }
    }
}

/// Bytes as people read them here.
#[allow(clippy::cast_precision_loss)]
pub fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1_u64 << 30) as f64)
}

/// The same where tenths say nothing.
#[allow(clippy::cast_precision_loss)]
pub fn whole_gib(bytes: u64) -> String {
    format!("{:.0} GiB", bytes as f64 / (1_u64 << 30) as f64)
}
