//! Whom a state concerns: one answer, which every face renders.

use spark_control::core::{
    decide::view::View,
    model::{
        object::Object,
        observed::EndpointAnswer,
        reason::{Concern, Reason},
        status_line::{Health, Sync},
    },
    tell::{
        concern::{FileState, Headline, concern},
        render::render,
    },
};

use crate::look::{Look, engine, spark};

/// If this failed, a person would be sent to what passes by itself, or not to what stays until they come.
#[test]
fn each_state_concerns_whom_it_should() {
    for (reason, sync, health, told) in [
        (None, Sync::InSync, Health::Healthy, Concern::Fine),
        (None, Sync::Drifted, Health::Progressing, Concern::Passing),
        (None, Sync::InSync, Health::Degraded, Concern::NeedsYou),
        (None, Sync::InSync, Health::Missing, Concern::NeedsYou),
        (None, Sync::Unknown, Health::Unknown, Concern::OutOfSight),
        (None, Sync::Unknown, Health::Missing, Concern::OutOfSight),
        (Some(Reason::LoadInProgress), Sync::Drifted, Health::Progressing, Concern::Passing),
        (Some(Reason::MemorySettling), Sync::Drifted, Health::Progressing, Concern::Passing),
        (Some(Reason::MemoryStuck), Sync::Drifted, Health::Progressing, Concern::NeedsYou),
        (Some(Reason::ApprovalNeeded), Sync::Drifted, Health::Healthy, Concern::AsksForApproval),
        (Some(Reason::Held), Sync::Drifted, Health::Healthy, Concern::AsWished),
        // Somebody wished that nothing is done, not that nothing is there.
        (Some(Reason::Held), Sync::Drifted, Health::Missing, Concern::NeedsYou),
        (Some(Reason::ReportOnly), Sync::Drifted, Health::Missing, Concern::NeedsYou),
        (Some(Reason::Suspended), Sync::Drifted, Health::Suspended, Concern::AsWished),
        (Some(Reason::Suspended), Sync::Drifted, Health::Missing, Concern::AsWished),
        (Some(Reason::Stalled), Sync::Drifted, Health::Missing, Concern::NeedsYou),
        (Some(Reason::Unreachable), Sync::Unknown, Health::Unknown, Concern::OutOfSight),
    ] {
        assert_eq!(concern(reason, sync, health, false), told, "{reason:?} {sync:?} {health:?}");
    }
    // A slot that nobody gave a model may be empty.
    assert_eq!(concern(None, Sync::InSync, Health::Missing, true), Concern::Fine);
}

/// If this failed, a face would show green over something that is not, or red over what somebody wished.
#[test]
fn the_headline_is_the_most_pressing_of_all() {
    let mut look = Look::new("model: alpha\nholds: { talk: { owner: bob, reason: a talk } }");
    look.serves("alpha");
    look.answers(&engine("alpha"));
    let headline = |look: &mut Look, file: FileState, is_fenced: bool| {
        let plan = look.plan();
        let observed = look.observed();
        let status = spark_control::core::tell::status::status(
            View { desired: &look.desired, observed: &observed, ledger: &look.ledger, now: look.now },
            &plan,
        );
        Headline::of(&status, Some(&observed), file, is_fenced)
    };
    assert_eq!(headline(&mut look, FileState::InForce, false).concern, Concern::Fine);
    assert_eq!(headline(&mut look, FileState::Asks, false).concern, Concern::AsksForApproval);
    assert_eq!(headline(&mut look, FileState::Invalid, false).concern, Concern::NeedsYou);
    assert_eq!(headline(&mut look, FileState::InForce, true).concern, Concern::NeedsYou);
    // It is well, and it is kept: nobody need come.
    look.edit("model: beta\nholds: { talk: { owner: bob, reason: a talk } }");
    assert_eq!(look.status("vllm"), "Drifted Healthy: alpha");
    let held = headline(&mut look, FileState::InForce, false);
    assert_eq!(held.concern, Concern::AsWished);
    assert_eq!(held.objects_of(Concern::AsWished).collect::<Vec<_>>(), [&Object::main()]);
    look.edit("model: beta\nreconcile: { on_edit: approve }");
    assert_eq!(look.status("vllm"), "Drifted Healthy: alpha");
    assert_eq!(headline(&mut look, FileState::InForce, false).concern, Concern::AsksForApproval);
    look.edit("model: alpha");
    look.silent.insert(spark("spark2"));
    let unseen = headline(&mut look, FileState::InForce, false);
    assert_eq!((unseen.concern, unseen.silent), (Concern::OutOfSight, vec![spark("spark2")]));
}

/// If this failed, a plan would say that all is as it should be of Sparks that nobody saw.
#[test]
fn nothing_to_do_is_said_only_of_what_was_seen() {
    let mut look = Look::new("model: alpha");
    look.serves("alpha");
    look.answers(&engine("alpha"));
    assert_eq!(render(&look.plan()), "Nothing to do: what is serving is what the file says.\n");
    look.silent.insert(spark("spark2"));
    assert_eq!(render(&look.plan()), "Nothing to do as far as was seen; `spark2` does not answer.\n");
    // What nobody saw is not nothing.
    look.edit("models: {}");
    look.answers(&EndpointAnswer::Refused);
    look.silent.insert(spark("spark1"));
    assert!(look.status("vllm").ends_with(": not known"), "{}", look.status("vllm"));
    assert!(render(&look.plan()).contains("do not answer"));
}
