//! What a status says of one look.

use spark_control::core::model::{
    launch::LaunchState,
    name::ServiceName,
    object::Object,
    observed::{CheckResult, Endpoint, EndpointAnswer, ServiceAnswer},
};

use crate::look::{Look, at, engine, spark};

#[test]
fn a_status_is_of_what_is_and_of_what_is_being_done() {
    let mut look = Look::new("model: alpha");
    assert_eq!(look.status("vllm"), "Drifted Progressing: nothing");
    look.launched("alpha", LaunchState::Loading);
    look.answers(&EndpointAnswer::Refused);
    assert_eq!(look.status("vllm"), "Drifted Progressing: nothing");
    look.edit("model: alpha\nvllm: { suspend: true }");
    assert_eq!(look.status("vllm"), "Drifted Suspended: nothing");
    look.edit("model: alpha");
    look.ledger.launch_mut(&Object::main()).unwrap().state = LaunchState::Serving { since: at(0) };
    assert_eq!(look.status("vllm"), "Drifted Missing: nothing", "it hangs: a person decides");
    look.answers(&engine("alpha"));
    assert_eq!(look.status("vllm"), "InSync Healthy: alpha");
    look.edit("model: beta");
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha");
    look.facts("spark2").images.clear();
    assert_eq!(look.status("vllm"), "Drifted Degraded: alpha", "it goes on serving, and a person is asked");
    look.silent.insert(spark("spark1"));
    look.edit("model: alpha");
    assert_eq!(look.status("vllm"), "Unknown Unknown: alpha");
    look.edit("model: none");
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha", "it is stopped when its Spark is back");
    look.silent.clear();
    assert_eq!(look.status("vllm"), "Drifted Progressing: alpha");
    look.facts("spark1").containers.clear();
    look.endpoints.clear();
    look.silent.insert(spark("spark1"));
    assert_eq!(look.status("vllm"), "Unknown Unknown: not known");
    look.silent.clear();
    assert_eq!(look.status("vllm"), "InSync Healthy: nothing");
    look.edit("models: {}");
    assert_eq!(look.status("vllm"), "InSync Missing: nothing");
    look.silent.insert(spark("spark1"));
    look.silent.insert(spark("spark2"));
    assert_eq!(look.status("vllm"), "Unknown Unknown: not known");
    look.silent.clear();
    look.answers(&engine("alpha"));
    assert_eq!(look.status("vllm"), "InSync Healthy: alpha");
}

#[test]
fn a_status_of_a_service_is_of_its_endpoint_or_its_container() {
    let service = |state: &str, port: &str| {
        let file = format!(
            "model: none\nservices: {{ bot: {{ kind: bot, user: helper, spark: spark1, container: bot{state}{port} }} }}"
        );
        let mut look = Look::new(&file);
        look.stands("spark1", "bot").processes = Some(Vec::new());
        look
    };
    let bot = || service(", state: running", "");
    assert_eq!(bot().status("bot"), "InSync Healthy: running");
    let mut ended = bot();
    ended.facts("spark1").containers[0].running = false;
    assert_eq!(ended.status("bot"), "Drifted Missing: ended");
    ended.facts("spark1").containers[0].exit_code = Some(3);
    assert_eq!(ended.status("bot"), "Drifted Missing: ended with code 3");
    ended.facts("spark1").containers[0].restarting = true;
    assert_eq!(ended.status("bot"), "Drifted Degraded: restarting: it ended with code 3");
    let mut gone = bot();
    gone.facts("spark1").containers.clear();
    assert_eq!(gone.status("bot"), "Drifted Missing: no container");
    let mut silent = bot();
    silent.silent.insert(spark("spark1"));
    assert_eq!(silent.status("bot"), "Unknown Unknown: `spark1` is not reachable");
    let mut stopped = service(", state: stopped", "");
    assert_eq!(stopped.status("bot"), "Drifted Healthy: running");
    stopped.facts("spark1").containers[0].running = false;
    assert_eq!(stopped.status("bot"), "InSync Healthy: stopped");
    assert_eq!(service("", "").status("bot"), "InSync Healthy: running");
    let answers = |answer: EndpointAnswer| {
        let mut look = service("", ", port: 80");
        let object = Object::service(&ServiceName::new("bot").unwrap());
        look.endpoints.insert(object, Endpoint { at: at(0), since: at(0), answer });
        look.status("bot")
    };
    let up = |proof| EndpointAnswer::Up(ServiceAnswer { proof, ..ServiceAnswer::default() });
    assert_eq!(answers(up(CheckResult::Proven { at: at(0) })), "InSync Healthy: up");
    assert_eq!(answers(up(CheckResult::NotTried)), "InSync Progressing: up, not proven yet");
    let failed = CheckResult::Failed { at: at(0), why: "it speaks nonsense".into() };
    assert_eq!(answers(up(failed)), "InSync Degraded: it answers, but it speaks nonsense");
    assert_eq!(answers(EndpointAnswer::Refused), "InSync Missing: down");
    assert_eq!(answers(EndpointAnswer::Silent { why: "no answer".into() }), "InSync Unknown: no answer");
    assert_eq!(answers(EndpointAnswer::Wrong { why: "404".into() }), "InSync Degraded: 404");
}

#[test]
fn a_status_of_files_is_of_where_they_are() {
    let mut look =
        Look::new("model: none\nmodels: { alpha: { repo: lab/alpha, sparks: [spark1], weights: present } }");
    assert_eq!(look.status("weights/alpha"), "InSync Healthy: there on 1 of 1");
    look.silent.insert(spark("spark1"));
    assert_eq!(look.status("weights/alpha"), "Unknown Unknown: there on 0 of 1");
    look.silent.clear();
    look.facts("spark1").files.clear();
    assert_eq!(look.status("weights/alpha"), "Drifted Progressing: there on 0 of 1");
}
