//! What a server asks of an engine: nobody waits for a plan, and memory comes back.

use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::time::Duration;

use segmenta_graph::{Builder, Conv2d, Scope};

use super::*;

fn engine() -> Engine {
    let (mut g, input) = Builder::new(3);
    let at = |name: &str| &Scope::root() / name;
    let x = g.conv(input, &at("a"), Conv2d::square(3, 16));
    let out = g.conv(x, &at("b"), Conv2d::square(3, 2));
    g.output("out", out);
    let options = EngineOptions {
        threads: 1,
        ..EngineOptions::default()
    };
    let weights = |p: &Parameter| Ok::<_, RuntimeError>(vec![0.25; p.len()]);
    Engine::new(g.finish().unwrap(), &options, weights).unwrap()
}

fn plan_of(engine: &Engine, input: Shape) -> Plan {
    let Engine {
        graph,
        program,
        layers,
        ..
    } = engine;
    Plan::new(graph, program, layers, 1, engine.weight_memory, input).unwrap()
}

fn run(engine: &Engine, side: usize) -> Vec<f32> {
    let shape = Shape::new(1, 3, side, side);
    let input = vec![0.5; shape.len()];
    engine.forward(&input, shape).unwrap().remove(0).data
}

#[test]
fn a_new_size_is_planned_while_others_run() {
    let engine = engine();
    let expected = run(&engine, 8);
    let input = Shape::new(1, 3, 12, 12);
    let (done, wait) = channel();
    std::thread::scope(|scope| {
        let make = || {
            // Another request, of a size that is known and of one that is not, while this one is being planned.
            scope.spawn(|| done.send([run(&engine, 8), run(&engine, 9)]));
            let others = wait.recv_timeout(Duration::from_secs(20));
            assert_eq!(others.expect("others waited for the plan")[0], expected);
            Ok(plan_of(&engine, input))
        };
        engine.plan_by(input, make).unwrap();
    });
}

#[test]
fn two_threads_that_plan_one_size_go_on_with_one_plan() {
    let (engine, both) = (engine(), Barrier::new(2));
    let input = Shape::new(1, 3, 12, 12);
    let plan = || {
        let make = || {
            both.wait();
            Ok(plan_of(&engine, input))
        };
        engine.plan_by(input, make).unwrap()
    };
    let (one, other) = std::thread::scope(|scope| {
        let threads = [scope.spawn(plan), scope.spawn(plan)];
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        (one, other)
    });
    let kept = lock(&engine.plans).clone();
    assert_eq!(kept.len(), 1, "one of the two is dropped");
    assert!(Arc::ptr_eq(&one, &kept[0]) && Arc::ptr_eq(&other, &kept[0]));
}

#[test]
fn memory_is_given_back() {
    let engine = engine();
    let large = run(&engine, 64);
    let peak = engine.idle_bytes();
    assert!(peak >= 64 * 64 * 16 * size_of::<f32>(), "{peak}");
    engine.trim();
    assert_eq!(engine.idle_bytes(), 0);
    assert_eq!(run(&engine, 64), large, "the same after trimming");
    for _ in 0..64 {
        run(&engine, 8);
    }
    assert!(engine.idle_bytes() < peak / 8, "{}", engine.idle_bytes());
}

#[test]
fn many_threads_get_what_one_gets() {
    let engine = engine();
    let sides = [8, 9, 17, 33];
    let expected = sides.map(|side| run(&engine, side));
    engine.trim();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, expected) = (&engine, &expected);
            scope.spawn(move || {
                for n in 0..24 {
                    let at = (n * (thread + 1) + thread) % sides.len();
                    assert_eq!(run(engine, sides[at]), expected[at]);
                }
            });
        }
    });
}

/// A thread of the pool that waits while it plans takes up the plan of another size: no lock may be held then.
#[test]
fn many_sizes_are_planned_at_once() {
    let (mut g, input) = Builder::new(3);
    let at = |name: &str| &Scope::root() / name;
    let mut x = g.conv(input, &at("a"), Conv2d::square(3, 64));
    for name in ["b", "c", "d"] {
        x = g.conv(x, &at(name), Conv2d::square(3, 64));
    }
    g.output("out", x);
    let options = EngineOptions {
        threads: 2,
        ..EngineOptions::default()
    };
    let weights = |p: &Parameter| Ok::<_, RuntimeError>(vec![0.01; p.len()]);
    let engine = Engine::new(g.finish().unwrap(), &options, weights).unwrap();
    let (done, wait) = channel();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (engine, done) = (&engine, done.clone());
            scope.spawn(move || {
                for n in 0..8 {
                    let shape = Shape::new(1, 3, 24 + 4 * n, 24 + 4 * ((n + thread) % 8));
                    engine.result_shapes(shape).unwrap();
                    engine.trim();
                }
                done.send(()).unwrap();
            });
        }
        for _ in 0..6 {
            if wait.recv_timeout(Duration::from_secs(60)).is_err() {
                // The threads would be waited for in vain.
                panic_without_waiting();
            }
        }
    });
}

/// Ends the test's process: a scope would wait for its threads for ever.
fn panic_without_waiting() {
    eprintln!("plans wait for each other");
    std::process::abort();
}
