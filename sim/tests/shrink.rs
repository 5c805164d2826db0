//! Failing runs become short: a defect is put back, the first seed that fails is shortened, and what is left is saved,
//! read again and fails in the same way. Needs the feature `defects`.

use ordu_sim::draw::Options;
use ordu_sim::script::Script;
use ordu_sim::shrink::{ScriptTree, scripts, shrink};
use ordu_sim::world::{Outcome, run};
use ordu_sim::{file, scenario};
use ordu_transport::core::defects::{Defect, put_back};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn with(defect: Defect, script: &Script) -> Outcome {
    // The switch is this thread's own, and the run stays on it.
    put_back(Some(defect));
    let (outcome, _) = run(script, None);
    put_back(None);
    outcome
}

fn options() -> Options {
    Options { nodes: 4, ops: 80, scenario: scenario::default() }
}

fn is_shortened(defect: Defect, steps_max: usize) {
    let failing = (1..200).map(|seed| Script::draw(seed, &options())).find_map(|script| {
        let outcome = with(defect, &script);
        outcome.violation.is_some().then_some((script, outcome))
    });
    let (script, failed) = failing.expect("a seed fails");
    let before = script.steps.len();
    let mut runs = 0;
    let (short, outcome) = shrink(
        script,
        failed,
        |script| {
            runs += 1;
            with(defect, script)
        },
        |_| true,
    );
    println!("{defect:?}: {before} steps became {} in {runs} runs", short.steps.len());
    short.steps.iter().for_each(|step| println!("  {step}"));
    assert!(short.steps.len() <= steps_max, "{} steps are left", short.steps.len());

    let text = file::write(&short, "a test").expect("it can be written");
    let scenario = file::read("short", &text).expect("it can be read");
    let seed = scenario.seed().expect("it has a seed");
    let again = Script::draw(seed, &Options { nodes: 1, ops: 1, scenario });
    assert_eq!(again, short);
    assert_eq!(with(defect, &again), outcome, "a saved script plays as it did");
    assert_eq!(run(&again, None).0.violation, None, "it is the defect that fails");
}

#[test]
fn a_loser_that_lives_comes_out_short() {
    is_shortened(Defect::LoserLives, 6);
}

#[test]
fn a_bare_removal_comes_out_short() {
    is_shortened(Defect::BareRemoval, 10);
}

#[test]
fn proptest_shortens_scripts_by_itself() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 60, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let found = TestRunner::new_with_rng(config, rng).run(&scripts(options()), |script| {
        match with(Defect::LoserLives, &script).violation {
            Some(violation) => Err(TestCaseError::fail(violation.what)),
            None => Ok(()),
        }
    });
    let Err(TestError::Fail(_, short)) = found else { panic!("proptest found nothing: {found:?}") };
    assert!(short.steps.len() <= 6, "{} steps are left", short.steps.len());
}

#[test]
fn a_strategy_draws_what_can_be_played() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        let tree: ScriptTree = scripts(options()).new_tree(&mut runner).expect("a script");
        assert_eq!(file::refuse(&tree.current()), None);
    }
}
