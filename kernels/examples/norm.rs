//! Throwaway.
use pinpool_kernels as k;
fn main(){ let st=std::array::from_fn(|l|[l as u64+1,2,3,4]); let mut l=k::Lanes::new(st);
 let mut l2=l.clone();
 let n=if std::env::args().nth(1).is_some(){20000}else{1<<15}; let mut x=vec![0.0;n]; let mut u=vec![0u64;n];
 if std::env::args().nth(1).is_some(){ l.fill_normal(&mut x); l2.fill_u64(&mut u); for i in 0..n{println!("{} {:?}",u[i],x[i]);} return;}
 let time=|name:&str,f:&mut dyn FnMut()|{ let mut b=1e9f64; for _ in 0..9{let t=std::time::Instant::now(); for _ in 0..200{f()} b=b.min(t.elapsed().as_secs_f64()/200.0/n as f64*1e9);} println!("{name} {b:.3} ns");};
 time("uniform",&mut||l.fill_uniform(&mut x));
 time("f64 range",&mut||l.fill_range_f64(1.0,3.0,&mut x));
 time("normal",&mut||l2.fill_normal(&mut x));
 time("u64",&mut||l2.fill_u64(&mut u));
 time("range u64",&mut||l2.fill_range_u64(5,1000005,&mut u));
 let mut f=vec![0f32;n]; time("f32",&mut||l2.fill_uniform_f32(&mut f));
 let mut y=vec![0.0;n]; l2.fill_uniform(&mut x);
 time("sin",&mut||k::sin(&x,&mut y)); time("cos",&mut||k::cos(&x,&mut y)); time("exp2",&mut||k::exp2(&x,&mut y)); time("log2",&mut||k::log2(&x,&mut y));
 let e=x.clone(); time("pow",&mut||k::pow(&x,&e,&mut y));
 let mut z=x.clone(); time("trig_power in place 1 round",&mut||{k::trig_power(&mut z,1)});
 l2.fill_range_f64(2.0,2.3,&mut x); time("trig_power wide sum 1 round",&mut||{std::hint::black_box(k::trig_power_sum(&x,1));});
 l2.fill_range_f64(-1e9,1e9,&mut x); time("sin large",&mut||k::sin(&x,&mut y));
 time("sum",&mut||{std::hint::black_box(k::sum(&x));}); time("dot",&mut||{std::hint::black_box(k::dot(&x,&y));}); time("axpy",&mut||k::axpy(1e-3,&x,&mut y));time("sum f32",&mut||{std::hint::black_box(k::sum(&f));});
 time("meanvar",&mut||{std::hint::black_box(k::mean_and_variance(&x));}); time("exact",&mut||{std::hint::black_box(k::sum_exact(&x));});
}
