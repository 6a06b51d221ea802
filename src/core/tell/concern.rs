//! Whom a state concerns: nobody, or somebody who agrees, or who must do something. One function that the page, the commands' exit
//! codes, the news and StartOS only render.

use serde::{Deserialize, Serialize};

use crate::core::model::{
    name::SparkName,
    object::Object,
    observed::{Observed, SparkView},
    reason::{Concern, Reason},
    status_line::{Health, StatusLine, Sync},
};

/// Whom an object concerns. `is_watched_slot`: it may be empty, while a service that somebody wrote down is to be there.
pub fn concern(reason: Option<Reason>, sync: Sync, health: Health, is_watched_slot: bool) -> Concern {
    match (reason.map(Reason::concern), health) {
        // Somebody wished that nothing is done about it. That it is gone meanwhile they may not have wished.
        (Some(Concern::AsWished), Health::Missing | Health::Degraded)
            if matches!(reason, Some(Reason::Held | Reason::ReportOnly)) =>
        {
            Concern::NeedsYou
        }
        (Some(concern), _) => concern,
        (None, Health::Suspended) => Concern::AsWished,
        (None, Health::Progressing) => Concern::Passing,
        (None, Health::Unknown) => Concern::OutOfSight,
        // Its Spark does not answer: that is what there is to mend.
        (None, Health::Degraded | Health::Missing) if sync == Sync::Unknown => Concern::OutOfSight,
        (None, Health::Degraded) => Concern::NeedsYou,
        (None, Health::Missing) if is_watched_slot => Concern::Fine,
        (None, Health::Missing) => Concern::NeedsYou,
        (None, Health::Healthy) if sync == Sync::Drifted => Concern::Passing,
        (None, Health::Healthy) => Concern::Fine,
    }
}

/// The whole in one value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Headline {
    /// The most pressing of all that follows.
    pub concern: Concern,
    /// Every object that is not fine, the most pressing first.
    pub objects: Vec<Concerned>,
    /// Sparks that do not answer.
    pub silent: Vec<SparkName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Concerned {
    pub object: Object,
    pub concern: Concern,
}

impl Headline {
    /// `file`: what keeps the file from being in force, if anything does: agreement, or a mistake in it.
    pub fn of(lines: &[StatusLine], observed: Option<&Observed>, file: FileState, is_fenced: bool) -> Self {
        let mut objects: Vec<Concerned> = lines
            .iter()
            .map(|line| Concerned { object: line.object.clone(), concern: line.concern })
            .filter(|one| one.concern != Concern::Fine)
            .collect();
        objects.sort_by_key(|one| std::cmp::Reverse(one.concern));
        let sparks = observed.into_iter().flat_map(|observed| &observed.sparks);
        let silent: Vec<SparkName> = sparks
            .filter(|(_, view)| matches!(view, SparkView::Unreachable { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        let file = match file {
            FileState::InForce => Concern::Fine,
            FileState::Asks => Concern::AsksForApproval,
            FileState::Invalid => Concern::NeedsYou,
        };
        let unseen = if silent.is_empty() { Concern::Fine } else { Concern::OutOfSight };
        let fenced = if is_fenced { Concern::NeedsYou } else { Concern::Fine };
        let of_objects = objects.first().map_or(Concern::Fine, |one| one.concern);
        let concern = [of_objects, file, unseen, fenced].into_iter().max().unwrap_or(Concern::Fine);
        Self { concern, objects, silent }
    }

    /// Objects of one concern.
    pub fn objects_of(&self, concern: Concern) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |one| one.concern == concern).map(|one| &one.object)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    InForce,
    /// It takes much out.
    Asks,
    Invalid,
}
