//! numpy and pinpool work on the same array, in place, by name or by file.
//!
//! `numpy share NAME`          makes /dev/shm/NAME, 1000 × 257 doubles 0, 1, 2, …; then answers each
//!                             line on its standard input with the array's sum
//! `numpy copy DTYPE IN OUT`   opens a file of that dtype and saves it again
//! `numpy negate FILE`         opens a file of doubles and negates them in place
//! `numpy`                     does the last two by itself and checks the result

use std::error::Error;
use std::io::BufRead;
use std::process::ExitCode;

use ndarray::{Ix2, IxDyn};
use num_complex::{Complex32, Complex64};
use pinpool::{Bool, Pod, SharedArray};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["share", name] => share(name),
        ["copy", dtype, from, to] => copy_as(dtype, from, to),
        ["negate", file] => negate(file),
        [] => by_itself(),
        _ => Err("share NAME | copy DTYPE IN OUT | negate FILE".into()),
    };
    done.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn share(name: &str) -> Result<(), Box<dyn Error>> {
    // SAFETY: numpy writes only while this program waits for a line.
    let mut a = unsafe { SharedArray::<f64, Ix2>::create_named(name, (1000, 257)) }?;
    a.as_mut_slice().iter_mut().enumerate().for_each(|(i, x)| *x = i as f64);
    println!("np.load('/dev/shm/{name}', mmap_mode='r+')");
    for _ in std::io::stdin().lock().lines() {
        println!("{}", a.view().sum());
    }
    Ok(())
}

fn copy_as(dtype: &str, from: &str, to: &str) -> Result<(), Box<dyn Error>> {
    fn copy<T: Pod>(from: &str, to: &str) -> Result<(), Box<dyn Error>> {
        // SAFETY: nobody writes into the file meanwhile.
        let a = unsafe { SharedArray::<T, IxDyn>::open_file_read_only(from) }?;
        Ok(a.save(to)?)
    }
    let copy = match dtype {
        "|b1" => copy::<Bool>,
        "|i1" => copy::<i8>,
        "<i2" => copy::<i16>,
        "<i4" => copy::<i32>,
        "<i8" => copy::<i64>,
        "|u1" => copy::<u8>,
        "<u2" => copy::<u16>,
        "<u4" => copy::<u32>,
        "<u8" => copy::<u64>,
        "<f4" => copy::<f32>,
        "<f8" => copy::<f64>,
        "<c8" => copy::<Complex32>,
        "<c16" => copy::<Complex64>,
        "|V24" => copy::<[f64; 3]>,
        other => return Err(format!("no dtype {other}").into()),
    };
    copy(from, to)
}

fn negate(file: &str) -> Result<(), Box<dyn Error>> {
    // SAFETY: nobody else has the file open.
    let mut a = unsafe { SharedArray::<f64, IxDyn>::open_file(file) }?;
    a.view_mut().mapv_inplace(|x| -x);
    Ok(())
}

fn by_itself() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("pinpool-numpy-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let [a, b] = ["a.npy", "b.npy"].map(|name| folder.join(name).display().to_string());
    SharedArray::from_array(&ndarray::array![[1.0, 2.0], [3.0, 4.0]].view())?.save(&a)?;
    copy_as("<f8", &a, &b)?;
    negate(&b)?;
    // SAFETY: nobody else has the file open.
    let negated = unsafe { SharedArray::<f64, Ix2>::open_file(&b) }?;
    assert_eq!(negated.view(), ndarray::array![[-1.0, -2.0], [-3.0, -4.0]]);
    println!("negated in place:\n{}", negated.view());
    Ok(std::fs::remove_dir_all(&folder)?)
}
