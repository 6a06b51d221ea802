//! A bot: brought to its branch once, as its own user, when somebody asks for it.
//!
//! The update is a job in that user's own SSH session. How it ended is remembered, so that it is done once for each time that
//! it is asked for.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{consent, view::View};
use crate::core::model::{
    bot_update::{BotCheckout, BotUpdate, UpdateState},
    desired::{Bot, Desired, Place, Service},
    event_kind::EventKind,
    id::GitBranch,
    ledger::{Ledger, LedgerEvent, StepResult},
    name::{PlainPath, ServiceName, SparkName},
    object::Object,
    observed::{BotSeen, JobState, Observed},
    plan::{Outage, PlannedStep, Predicate, Work, WorkItem},
    reason::Reason,
    spec_hash::SpecHash,
    step::Step,
};

/// An image that is built from nothing takes most of it.
pub const UPDATE_LIMIT: SignedDuration = SignedDuration::from_mins(25);

/// It began a little before it was known to have begun.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

impl Bot {
    /// The update that is asked for, when its time has come.
    pub fn due(&self, now: Timestamp) -> Option<(Timestamp, &PlainPath, &GitBranch)> {
        let asked = self.update_after.filter(|asked| *asked <= now)?;
        Some((asked, self.dir.as_ref()?, self.branch.as_ref()?))
    }
}

/// Whose sessions are to be looked into: an update is asked for, or was begun.
pub fn of_interest(desired: &Desired, ledger: &Ledger, now: Timestamp) -> BTreeSet<Object> {
    let services = desired.services.iter();
    let of_interest = services.filter_map(|(name, service)| {
        let (asked, ..) = service.bot.as_ref()?.due(now)?;
        let object = Object::service(name);
        let update = ledger.service(&object).update.as_ref();
        update
            .is_none_or(|update| update.asked != asked || update.state == UpdateState::Running)
            .then_some(object)
    });
    of_interest.collect()
}

/// The update of one bot; `None` when none is asked for, or it was done.
pub fn plan(name: &ServiceName, service: &Service, view: View<'_>) -> Option<Work> {
    let View { desired, observed, ledger, now } = view;
    let bot = service.bot.as_ref()?;
    let (asked, dir, branch) = bot.due(now)?;
    let (Place::Spark(spark), Some(container)) = (&service.place, &service.container) else { return None };
    let object = Object::service(name);
    let goal = format!("bring it to `{branch}`");
    let seen = observed.bots.get(&object);
    // One that is under way ends first, whatever time it was asked for by.
    let update = ledger.service(&object).update.as_ref();
    match update.filter(|update| update.asked == asked || update.state == UpdateState::Running) {
        Some(BotUpdate { state: UpdateState::Done { .. }, .. }) => return None,
        Some(BotUpdate { state: UpdateState::Failed { what, .. }, .. }) => {
            let message = format!("{what}; run `spark-control retry {object}` to try it again");
            return Some(Work::blocked(&object, goal, Reason::Stalled, message));
        }
        Some(BotUpdate { state: UpdateState::Running, job, .. }) => {
            let message = match seen {
                Some(BotSeen::Reached { jobs, .. }) => {
                    let said = jobs.iter().find(|known| known.id == *job);
                    let said = said.and_then(|job| job.last_log_line());
                    format!("job {job} on `{spark}`: {}", said.unwrap_or("it has just begun"))
                }
                Some(BotSeen::Silent { why }) => format!("job {job} on `{spark}` cannot be seen: {why}"),
                None => format!("job {job} on `{spark}` has just been started"),
            };
            return Some(Work::waiting(&object, goal, Reason::Updating, message));
        }
        None => {}
    }
    let Some(facts) = observed.facts(spark) else {
        let message = format!("`{spark}` is not reachable");
        return Some(Work::blocked(&object, goal, Reason::Unreachable, message));
    };
    if let Some(BotSeen::Silent { why }) = seen {
        let message = format!("the session of `{}` on `{spark}`: {why}", bot.user);
        return Some(Work::blocked(&object, goal, Reason::Unreachable, message));
    }
    if service.suspend {
        return Some(Work::blocked(&object, goal, Reason::Suspended, "`suspend` is on"));
    }
    let checkout = BotCheckout {
        user: bot.user.clone(),
        dir: dir.clone(),
        branch: branch.clone(),
        container: container.clone(),
    };
    let step = Step::Update { object: object.clone(), spark: spark.clone(), checkout, asked };
    let step = PlannedStep::new(step, consent::on_edit(desired));
    let runs = facts.container(container.as_str()).is_some_and(|container| container.running);
    let outage = runs.then(|| Outage::new(None, "while it is made anew, after it is built"));
    let relies_on = vec![Predicate::boot(spark, facts)];
    Some(Work { relies_on, outage, ..Work::new(&object, goal, vec![WorkItem::Steps(vec![step])]) })
}

/// Jobs have a spec; an update is of no model.
pub fn spec(branch: &GitBranch) -> SpecHash {
    SpecHash::of_label(&format!("update-{branch}"))
}

impl Ledger {
    /// What came of starting an update.
    pub(super) fn began_update(
        &mut self,
        object: &Object,
        spark: &SparkName,
        came: StepResult,
        what: &str,
        now: Timestamp,
    ) -> Option<LedgerEvent> {
        let update = self.services.get_mut(object).and_then(|known| known.update.as_mut())?;
        // A look from before this moment need not show its job.
        update.at = now;
        if matches!(came, StepResult::NotDone | StepResult::Failed) {
            let what = format!("the update was not started on `{spark}`: {what}");
            update.state = UpdateState::Failed { at: now, what: what.clone() };
            return Some(LedgerEvent { object: object.clone(), kind: EventKind::Failed, message: what });
        }
        None
    }

    /// Take in what became of updates.
    pub(super) fn notice_updates(
        &mut self,
        observed: &Observed,
        now: Timestamp,
        noticed: &mut Vec<LedgerEvent>,
    ) {
        for (object, service) in &mut self.services {
            let Some(update) = &mut service.update else { continue };
            let Some(BotSeen::Reached { at, jobs }) = observed.bots.get(object) else { continue };
            if update.state != UpdateState::Running {
                continue;
            }
            let job = jobs.iter().find(|job| job.id == update.job);
            let (state, kind, message) = match job.map(|job| (job.state, job.last_log_line())) {
                Some((JobState::Running, _)) => continue,
                // The message may be on its way.
                None if *at <= update.at => continue,
                None => failed("nothing is known of it there; it never began, or was forgotten".into(), now),
                Some((JobState::Exited(0), said)) => {
                    let said = said.unwrap_or("it ended well");
                    (UpdateState::Done { at: now }, EventKind::Updated, said.to_owned())
                }
                Some((JobState::Exited(code), said)) => {
                    failed(format!("{} (exit status {code})", said.unwrap_or("it said nothing")), now)
                }
                Some((JobState::Lost, _)) => {
                    let lasted = now.duration_since(update.at);
                    failed(
                        if lasted >= UPDATE_LIMIT - SLACK {
                            format!("it did not end within {} minutes, and was ended", UPDATE_LIMIT.as_mins())
                        } else {
                            "it was ended from outside, or the machine restarted".into()
                        },
                        now,
                    )
                }
            };
            update.state = state;
            noticed.push(LedgerEvent { object: object.clone(), kind, message: format!("update: {message}") });
        }
    }
}

fn failed(what: String, now: Timestamp) -> (UpdateState, EventKind, String) {
    (UpdateState::Failed { at: now, what: what.clone() }, EventKind::Failed, what)
}
