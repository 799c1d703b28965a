! The flagship from Fortran: doubles drawn by chunk, three rounds of a <- (sin a + cos a)^(a*a), summed
! by chunk. The same bits as `pinpool run trig-power --elements N` and examples/c/heavy.c. Compile it
! after include/pinpool.f90, and link it with libpinpool (docs/c.md).
!
!   heavy [ELEMENTS]
module heavy_kernel
  use pinpool
  implicit none
contains
  ! A kernel of one's own: runs in the workers, once for each chunk.
  integer(c_int32_t) function heavy(chunk, result) bind(C)
    type(pp_chunk), intent(in) :: chunk
    type(c_ptr), value :: result
    type(pp_part) :: x
    real(c_double), pointer :: total
    integer(c_int32_t), pointer :: rounds
    x = pp_part_of(chunk, 1)
    call c_f_pointer(chunk%params, rounds)
    call c_f_pointer(result, total)
    total = pp_trig_power_sum(x%data, x%len, rounds)
    heavy = 0
  end function
end module

program main
  use pinpool
  use heavy_kernel
  implicit none
  type(c_ptr) :: options, pool, x, sums, nothing
  type(pp_arg), target :: arg
  type(pp_job) :: job
  integer(c_int32_t), target :: rounds = 3
  integer(c_size_t) :: n = 40000000_c_size_t
  real(c_double) :: total
  character(len=32) :: text

  ! First: in a worker it does not return, and Fortran's own start is over.
  call pp_init()
  if (command_argument_count() > 0) then
    call get_command_argument(1, text)
    read (text, *) n
  end if
  options = pp_options_new()
  call check(pp_options_set_u64(options, "seed"//c_null_char, 42_c_int64_t))
  call check(pp_pool_new(options, pool))
  call pp_options_free(options)

  call check(pp_array_zeros(PP_F64, 1_c_size_t, [n], x))
  arg%array = x
  arg%access = PP_OUT
  ! The default chunk of the program.
  arg%chunk_rows = min(max((n + 255) / 256, 64_c_size_t), 32768_c_size_t)
  job = pp_job_init()
  job%args = c_loc(arg)
  job%nargs = 1
  call check(pp_builtin(pool, "fill_uniform"//c_null_char, job, nothing))

  arg%access = PP_READ
  job%params = c_loc(rounds)
  job%params_bytes = c_sizeof(rounds)
  call check(pp_map(pool, c_funloc(heavy), job, PP_F64, sums))
  call check(pp_array_total_f64(sums, total))
  write (*, '(a, es24.16e2, a, z16.16, a)') 'total  ', total, '   (bits ', transfer(total, 0_c_int64_t), ')'

  call pp_array_free(sums)
  call pp_array_free(x)
  call pp_pool_free(pool)
contains
  subroutine check(status)
    integer(c_int32_t), intent(in) :: status
    if (status == PP_OK) return
    write (*, '(2a)') 'heavy: ', pp_error_text()
    stop 1
  end subroutine
end program
