//! `pinpool factor` prints what GNU `factor` prints, and goes on after a bad line.

#![cfg(feature = "cli")]

mod program;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use program::{pinpool, run, run_with};

/// What GNU `factor` prints for these numbers; `None` where the machine has no GNU `factor`.
fn gnu_factor(input: &str) -> Option<String> {
    let version = Command::new("factor").arg("--version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("GNU coreutils") {
        return None;
    }
    let mut command = Command::new("factor");
    command.env("LC_ALL", "C");
    Some(run_with(command, input.as_bytes()).stdout)
}

/// Holds the program to GNU `factor` where there is one, and says so where there is none.
fn assert_as_gnu(input: &str) {
    let ours = run_with(pinpool(&["factor"]), input.as_bytes());
    assert_eq!((ours.code(), ours.stderr.as_str()), (0, ""));
    match gnu_factor(input) {
        Some(theirs) => {
            for (ours, theirs) in ours.stdout.lines().zip(theirs.lines()) {
                assert_eq!(ours, theirs);
            }
            assert_eq!(ours.stdout.len(), theirs.len(), "one printed more lines");
        }
        None => eprintln!("skipped: this machine has no GNU factor to compare with"),
    }
}

#[test]
fn the_first_hundred_thousand_lines_are_gnu_factors() {
    let input: String = (0..=100_000).map(|n| format!("{n}\n")).collect();
    assert_as_gnu(&input);
}

#[test]
fn the_ends_of_the_range_and_squares_of_32_bit_primes_are_gnu_factors() {
    let mut input = String::new();
    for n in u64::MAX - 100..=u64::MAX {
        input += &format!("{n}\n");
    }
    for p in [65_537u64, 2_147_483_647, 4_294_967_279, 4_294_967_291] {
        input += &format!("{} {}\n", p * p, p * 4_294_967_291);
    }
    for n in (1u64 << 52) - 50..(1 << 52) + 50 {
        input += &format!("{n}\t");
    }
    assert_as_gnu(&input);
}

#[test]
fn known_factorizations_are_printed() {
    let outcome = run(&["factor", "0", "1", "360", "18446744073709551615", "18446744073709551557"]);
    assert_eq!(
        outcome.stdout,
        "0:\n1:\n360: 2 2 2 3 3 5\n18446744073709551615: 3 5 17 257 641 65537 6700417\n\
         18446744073709551557: 18446744073709551557\n"
    );
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_bad_line_fails_the_run_and_the_rest_is_still_done() {
    let outcome = run_with(pinpool(&["factor"]), b"4\nx\n-3\n0x10\n+6\n");
    assert_eq!(outcome.stdout, "4: 2 2\n6: 2 3\n");
    assert_eq!(outcome.code(), 1);
    for token in ["x", "-3", "0x10"] {
        let message = format!("pinpool factor: '{token}' is not a valid positive integer\n");
        assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    }
}

#[test]
fn a_number_beyond_128_bits_is_a_clear_error() {
    let large = "340282366920938463463374607431768211456";
    let outcome = run(&["factor", "6", large, "10"]);
    assert_eq!(outcome.stdout, "6: 2 3\n10: 2 5\n");
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains(&format!("'{large}' is too large")), "{}", outcome.stderr);
}

#[test]
fn numbers_of_64_to_128_bits_are_gnu_factors_in_their_place() {
    let mut input = String::from("12\n18446744073709551616 18446744073709551617\n35\n");
    // Mersenne numbers, a prime, and a product of two primes of 50 bits.
    for k in [67, 71, 89, 101, 103, 107, 127] {
        input += &format!("{}\n", (1u128 << k) - 1);
    }
    input += &format!("7\n{}\n", 1_125_899_906_842_597u128 * 1_125_899_906_842_589);
    assert_as_gnu(&input);
    // GNU factor 9.1 prints the lines of numbers from 2^127 on before those that it still holds.
    let outcome = run(&["factor", "8", "340282366920938463463374607431768211455", "9"]);
    assert_eq!(
        outcome.stdout,
        "8: 2 2 2\n340282366920938463463374607431768211455: 3 5 17 257 641 65537 274177 6700417 \
         67280421310721\n9: 3 3\n"
    );
}

#[test]
fn wrong_options_end_with_the_status_of_gnu_factor() {
    for option in ["-5", "--bogus"] {
        let outcome = run(&["factor", option]);
        assert_eq!((outcome.code(), outcome.stdout.as_str()), (1, ""));
        assert!(outcome.stderr.contains(option), "{}", outcome.stderr);
    }
}

#[test]
fn a_full_device_is_an_error() {
    let mut command = pinpool(&["factor", "5"]);
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}

#[test]
fn a_reader_that_goes_away_ends_it_silently() {
    let mut child = pinpool(&["factor"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // Much, and in the end an error here: a child that another test is starting at this moment
    // holds the reading end too, until it executes its program.
    let _ = stdin.write_all(&b"1\n2\n3\n".repeat(200_000));
    drop(stdin);
    assert_eq!(program::wait(&mut child).code(), Some(128 + 13));
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn an_answer_comes_before_the_next_question() {
    let mut child =
        pinpool(&["factor"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, answers) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    for (question, answer) in [("12\n", "12: 2 2 3"), ("35\n", "35: 5 7")] {
        stdin.write_all(question.as_bytes()).unwrap();
        assert_eq!(answers.recv_timeout(program::WATCHDOG).unwrap(), answer);
    }
    drop(stdin);
    assert!(program::wait(&mut child).success());
}
