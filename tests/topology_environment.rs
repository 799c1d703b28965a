//! Options and variables: how they are spelled, which one wins, what does not go together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use std::sync::OnceLock;

use pinpool::placement::{
    Bind, CoreKind, Pin, PlacementError, PlacementOptions, Places, Plan, Smt, WORKERS_LIMIT, plan,
};
use pinpool::topology::Topology;

fn from(
    options: PlacementOptions,
    vars: &[(&str, &str)],
) -> Result<PlacementOptions, PlacementError> {
    let var = |name: &str| {
        let found = vars.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string())
    };
    options.from_vars(var)
}

fn env(vars: &[(&str, &str)]) -> PlacementOptions {
    from(PlacementOptions::default(), vars).unwrap()
}

/// Machine B, written and read once.
fn b() -> Topology {
    static B: OnceLock<Topology> = OnceLock::new();
    B.get_or_init(|| Topology::read(fixtures::b().write().path()).unwrap()).clone()
}

fn bind(word: &str) -> Option<Bind> {
    Some(word.parse().unwrap())
}

fn places(word: &str) -> Option<Places> {
    Some(word.parse().unwrap())
}

fn pus(plan: &Plan) -> Vec<usize> {
    plan.workers.iter().map(|w| w.pu.unwrap()).collect()
}

fn planned(options: PlacementOptions) -> Vec<usize> {
    pus(&plan(&b(), &options).unwrap())
}

#[test]
fn an_option_beats_ours_and_ours_beats_openmps() {
    let openmp = [("OMP_PROC_BIND", "spread"), ("OMP_PLACES", "sockets")];
    assert_eq!(env(&openmp).bind, Some(Bind::Spread));
    assert_eq!(env(&openmp).places, Some(Places::Sockets));
    let mut ours = openmp.to_vec();
    ours.extend([
        ("PINPOOL_BIND", "primary"),
        ("PINPOOL_PLACES", "cores"),
        ("PINPOOL_WORKERS", "3"),
    ]);
    let merged = env(&ours);
    assert_eq!((merged.bind, merged.places), (Some(Bind::Primary), Some(Places::Cores)));
    assert_eq!(merged.workers, Some(3));
    let option = PlacementOptions {
        bind: Some(Bind::Close),
        places: Some(Places::Threads),
        workers: Some(2),
        ..Default::default()
    };
    assert_eq!(from(option.clone(), &ours).unwrap(), option);
    assert_eq!(env(&[("PINPOOL_BIND", ""), ("OMP_PROC_BIND", " ")]), PlacementOptions::default());
}

#[test]
fn what_was_filled_in_once_is_left_as_it_is() {
    let words: [(&str, &[&str]); 7] = [
        ("PINPOOL_BIND", &["", "none", "spread", "scatter", "list:0,2"]),
        ("PINPOOL_PLACES", &["", "threads"]),
        ("PINPOOL_WORKERS", &["", "3"]),
        ("OMP_PROC_BIND", &["", "false", "true", "spread", "sideways"]),
        ("OMP_PLACES", &["", "sockets", "nonsense"]),
        ("GOMP_CPU_AFFINITY", &["", "0-2", "x"]),
        ("SLURM_CPUS_PER_TASK", &["", "2", "many"]),
    ];
    let all: usize = words.iter().map(|(_, values)| values.len()).product();
    let asked = [
        PlacementOptions::default(),
        PlacementOptions { bind: Some(Bind::Close), ..Default::default() },
        PlacementOptions { places: Some(Places::Cores), ..Default::default() },
        PlacementOptions { smt: Some(Smt::Last), ..Default::default() },
        PlacementOptions { kind: Some(CoreKind::P), pin: Pin::Core, ..Default::default() },
    ];
    for mut at in 0..all {
        let vars = words.map(|(name, values)| {
            let value = values[at % values.len()];
            at /= values.len();
            (name, value)
        });
        for options in &asked {
            let once = from(options.clone(), &vars).unwrap();
            assert_eq!(from(once.clone(), &vars).unwrap(), once, "{options:?} {vars:?}");
            // Nor does it find more to fill in once the policy is chosen.
            let Ok(plan) = plan(&b(), &PlacementOptions { workers: Some(1), ..once.clone() })
            else {
                continue;
            };
            let chosen = PlacementOptions { bind: Some(plan.bind), ..once };
            assert_eq!(from(chosen.clone(), &vars).unwrap(), chosen, "{options:?} {vars:?}");
        }
    }
}

#[test]
fn each_setting_is_filled_in_by_itself() {
    let option = PlacementOptions { bind: Some(Bind::Spread), ..Default::default() };
    let merged = from(option, &[("OMP_PLACES", "threads")]).unwrap();
    assert_eq!((merged.bind, merged.places), (Some(Bind::Spread), Some(Places::Threads)));
    for own in ["compact", "scatter", "none", "list:0,1"] {
        let option = PlacementOptions { bind: bind(own), ..Default::default() };
        let merged =
            from(option, &[("OMP_PLACES", "threads"), ("GOMP_CPU_AFFINITY", "3")]).unwrap();
        assert_eq!((merged.bind, merged.places), (bind(own), None));
    }
}

#[test]
fn smt_is_not_spoilt_by_variables() {
    let option = PlacementOptions { smt: Some(Smt::Last), ..Default::default() };
    let vars = [
        ("PINPOOL_BIND", "spread"),
        ("PINPOOL_PLACES", "threads"),
        ("OMP_PLACES", "cores"),
        ("OMP_PROC_BIND", "close"),
    ];
    let merged = from(option, &vars).unwrap();
    assert_eq!(pus(&plan(&b(), &PlacementOptions { workers: Some(9), ..merged }).unwrap())[8], 8);
}

#[test]
fn openmps_binding_words_are_understood() {
    let word = |word| env(&[("OMP_PROC_BIND", word)]).bind;
    assert_eq!(word("false"), Some(Bind::None));
    assert_eq!(word("TRUE"), None);
    assert_eq!(word("master"), Some(Bind::Primary));
    assert_eq!(word("spread,close"), Some(Bind::Spread));
    let odd =
        env(&[("OMP_PROC_BIND", "sideways"), ("OMP_PLACES", "{"), ("SLURM_CPUS_PER_TASK", "x")]);
    assert_eq!((&odd.bind, &odd.places, odd.slurm_cpus), (&None, &None, None));
    assert_eq!(odd.remarks.len(), 3);
    assert!(plan(&b(), &odd).unwrap().warnings[0].contains("OMP_PROC_BIND"));
    assert_eq!(env(&[("OMP_PROC_BIND", "false"), ("OMP_PLACES", "cores")]).places, None);
}

#[test]
fn places_of_openmp_are_counted_in_logical_order() {
    let with = |word, workers| {
        planned(PlacementOptions { places: places(word), workers, ..Default::default() })
    };
    assert_eq!(with("threads", Some(4)), [0, 8, 1, 9]);
    assert_eq!(with("threads", None).len(), 16);
    assert_eq!(with("cores(3)", None), [0, 1, 2]);
    assert_eq!(with("sockets", Some(2)), [0, 4]);
    assert_eq!(with("numa_domains", Some(3)), [0, 0, 4]);
    assert_eq!(with("{0:2}:3:4", Some(3)), [0, 4, 8]);
    let options = PlacementOptions { places: places("sockets"), ..Default::default() };
    let sockets = plan(&b(), &options).unwrap();
    assert_eq!(sockets.workers.len(), 8, "one worker per core, four to a socket");
    assert!(!sockets.oversubscribed);
    assert_eq!(sockets.workers[7].pus, [4, 5, 6, 7, 12, 13, 14, 15]);
}

#[test]
fn explicit_places_lose_what_is_not_allowed() {
    let f = Topology::read(fixtures::f().write().path()).unwrap();
    let options = PlacementOptions { places: places("{0,2,10},{1,9},{3}"), ..Default::default() };
    let plan = plan(&f, &options).unwrap();
    assert_eq!(plan.workers.len(), 2);
    assert_eq!(plan.workers[0].pus, [2, 10]);
    assert!(plan.warnings[0].contains("3 PUs"), "{:?}", plan.warnings);
    let none = PlacementOptions { places: places("{0},{1}"), ..Default::default() };
    let error = pinpool::placement::plan(&f, &none).unwrap_err();
    assert!(matches!(error, PlacementError::NoPlace { .. }));
}

#[test]
fn lists_are_taken_as_given() {
    let list = |text: &str| planned(PlacementOptions { bind: bind(text), ..Default::default() });
    assert_eq!(list("list:0,2,4-8:2"), [0, 2, 4, 6, 8]);
    assert_eq!(list("list:9,1"), [9, 1]);
    assert_eq!(list("list:{0,8},{4,12}"), [0, 4]);
    assert_eq!(list("list:S0:0-3@S1:0-3"), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(list("list:S1:4,0"), [12, 4]);
    assert_eq!(list("list:E:S0:4:2:4"), [0, 8, 2, 10]);
    assert_eq!(list("list:E:S1:4"), [4, 12, 5, 13]);
    assert_eq!(list("list:M:scatter:8"), [0, 4, 1, 5, 2, 6, 3, 7]);
    assert_eq!(list("list:C1:0@N:15"), [4, 15]);
    let fails = |text: &str| {
        let options = PlacementOptions { bind: bind(text), ..Default::default() };
        plan(&b(), &options).unwrap_err()
    };
    assert!(matches!(fails("list:0,16"), PlacementError::NotAllowed { pu: 16, .. }));
    assert!(matches!(fails("list:S2:0"), PlacementError::NoDomain { .. }));
    assert!(matches!(fails("list:D0:0"), PlacementError::NoDomain { .. }));
    assert!(matches!(fails("list:S0:8"), PlacementError::NoPosition { position: 8, len: 8, .. }));
    for bad in ["list:", "list:x", "list:S0", "list:E:S0", "list:S0:0:1", "list:3-1", "sideways"] {
        assert!(bad.parse::<Bind>().is_err(), "{bad}");
    }
}

#[test]
fn gnus_list_begins_anew_at_its_end() {
    let options = env(&[("GOMP_CPU_AFFINITY", "0 3 1-2 4-15:2")]);
    assert_eq!(planned(options.clone()), [0, 3, 1, 2, 4, 6, 8, 10, 12, 14]);
    let more = PlacementOptions { workers: Some(12), ..options };
    assert_eq!(planned(more)[9..], [14, 0, 3]);
    let both = env(&[("GOMP_CPU_AFFINITY", "3"), ("OMP_PLACES", "cores")]);
    assert_eq!((both.bind, both.places), (None, Some(Places::Cores)));
}

#[test]
fn slurm_cuts_the_default_and_not_what_was_asked_for() {
    let options = env(&[("SLURM_CPUS_PER_TASK", "3")]);
    let cut = plan(&b(), &options).unwrap();
    assert_eq!(cut.workers.len(), 3);
    assert!(cut.why.contains("SLURM_CPUS_PER_TASK=3"), "{}", cut.why);
    let asked = plan(&b(), &PlacementOptions { workers: Some(8), ..options }).unwrap();
    assert_eq!(asked.workers.len(), 8);
    assert!(asked.warnings[0].contains("SLURM_CPUS_PER_TASK"), "{:?}", asked.warnings);
    // As many as the mask holds is no cut: the batch system counts hardware threads.
    assert_eq!(plan(&b(), &env(&[("SLURM_CPUS_PER_TASK", "16")])).unwrap().workers.len(), 8);
}

#[test]
fn a_variable_of_ours_that_makes_no_sense_is_an_error() {
    for (name, value) in [
        ("PINPOOL_WORKERS", "many"),
        ("PINPOOL_WORKERS", "-1"),
        ("PINPOOL_BIND", "sideways"),
        ("PINPOOL_PLACES", "{"),
    ] {
        let error = from(PlacementOptions::default(), &[(name, value)]).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn numbers_of_workers_that_no_pool_has_are_refused_with_advice() {
    for asked in [0, WORKERS_LIMIT + 1, usize::MAX] {
        let options = PlacementOptions { workers: Some(asked), ..Default::default() };
        let error = plan(&b(), &options).unwrap_err();
        assert_eq!(error, PlacementError::Workers { asked });
        assert!(error.to_string().contains(&format!("1 to {WORKERS_LIMIT}")));
    }
}

#[test]
fn a_refusal_names_the_numbers_and_the_reason() {
    let f = Topology::read(fixtures::f().write().path()).unwrap();
    let options =
        PlacementOptions { workers: Some(9), bind: Some(Bind::Scatter), ..Default::default() };
    let text = plan(&f, &options).unwrap_err().to_string();
    for part in
        ["9 workers", "4 usable cores", "scatter", "10 online PUs outside the mask", "--smt off"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let e = Topology::read(fixtures::e().write().path()).unwrap();
    let text = plan(&e, &options).unwrap_err().to_string();
    assert!(text.contains("2 PUs offline"), "{text}");
    let shared = PlacementOptions { oversubscribe: true, ..options };
    let shared = plan(&f, &shared).unwrap();
    assert_eq!(pus(&shared), [2, 2, 2, 6, 6, 3, 3, 12, 12]);
    assert!(shared.oversubscribed);
    assert!(!shared.warnings.is_empty());
}

#[test]
fn none_leaves_the_mask_alone() {
    let options = PlacementOptions { bind: Some(Bind::None), ..Default::default() };
    let plan = plan(&b(), &options).unwrap();
    assert_eq!(plan.workers.len(), 8);
    assert!(plan.workers.iter().all(|w| w.pus.is_empty() && w.pu.is_none()));
}

#[test]
fn primary_puts_every_worker_on_place_0() {
    let options =
        PlacementOptions { bind: Some(Bind::Primary), workers: Some(3), ..Default::default() };
    let plan = plan(&b(), &options).unwrap();
    assert_eq!(pus(&plan), [0, 0, 0]);
    assert!(plan.oversubscribed);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let base = PlacementOptions::default();
    let fails = |options: PlacementOptions| plan(&b(), &options).unwrap_err();
    let error = fails(PlacementOptions {
        smt: Some(Smt::Last),
        places: Some(Places::Threads),
        ..base.clone()
    });
    assert!(matches!(error, PlacementError::SmtAndPlaces { .. }));
    let error =
        fails(PlacementOptions { smt: Some(Smt::Last), bind: Some(Bind::Close), ..base.clone() });
    assert!(matches!(error, PlacementError::SmtAndBind { .. }));
    let error = fails(PlacementOptions { pin: Pin::Core, bind: Some(Bind::None), ..base.clone() });
    assert!(matches!(error, PlacementError::Exclusive { .. }));
    let error = fails(PlacementOptions {
        places: Some(Places::Cores),
        bind: bind("list:0"),
        ..base.clone()
    });
    assert!(matches!(error, PlacementError::Exclusive { .. }));
    let error = fails(PlacementOptions { kind: Some(CoreKind::E), ..base });
    assert_eq!(error, PlacementError::NoSuchKind { kind: CoreKind::E });
}

#[test]
fn words_print_as_they_are_read() {
    for word in ["none", "close", "spread", "primary", "compact", "scatter", "list:0,2,4-8:2"] {
        assert_eq!(bind(word).unwrap().to_string(), word);
    }
    for word in
        ["threads", "cores", "ll_caches", "numa_domains", "sockets", "cores(4)", "{0:4}:3:8"]
    {
        assert_eq!(places(word).unwrap().to_string(), word);
    }
    for word in ["off", "last", "adjacent"] {
        assert_eq!(word.parse::<Smt>().unwrap().to_string(), word);
    }
    for word in ["pu", "core"] {
        assert_eq!(word.parse::<Pin>().unwrap().to_string(), word);
    }
    assert_eq!("P".parse::<CoreKind>().unwrap().to_string(), "P");
    for bad in ["threads(0)", "threads(", "cores4", "(4)"] {
        assert!(bad.parse::<Places>().is_err(), "{bad}");
    }
}

#[test]
fn a_rank_that_mpirun_has_bound_to_less_than_its_share_is_told() {
    let said = |machine: &Topology, ranks: &str| {
        let options = env(&[("OMPI_COMM_WORLD_LOCAL_SIZE", ranks)]);
        plan(machine, &options).unwrap().warnings.join("\n")
    };
    let mut made = fixtures::b();
    made.allowed = Some("0".into());
    let bound = Topology::read(made.write().path()).unwrap();
    let cores = b().cores().len();
    let text = said(&bound, "1");
    assert!(text.contains("started by mpirun"), "{text}");
    assert!(text.contains(&format!("--map-by ppr:1:node:PE={cores}")), "{text}");
    let text = said(&bound, "2");
    assert!(text.contains(&format!("--map-by ppr:2:node:PE={}", cores / 2)), "{text}");
    // All of it, or no mpirun: nothing to say.
    assert_eq!(said(&b(), "1"), "");
    assert_eq!(plan(&bound, &env(&[])).unwrap().warnings, Vec::<String>::new());
    assert_eq!(said(&bound, "many"), "");
}
