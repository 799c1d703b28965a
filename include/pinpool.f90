! pinpool for Fortran: the interface of pinpool.h (version 1) as an ISO_C_BINDING module. Compile it
! with the program; the page with whole programs is docs/c.md, and pinpool.h says what each function
! does.
module pinpool
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer(c_int32_t), parameter :: PP_OK = 0, PP_INVALID = 1, PP_NO_MEMORY = 2, PP_ARRAY_FAILED = 3, &
    PP_PLACEMENT = 4, PP_START_FAILED = 5, PP_FOREIGN = 6, PP_KERNEL_FAILED = 7, PP_CRASH = 8, &
    PP_PANIC = 9, PP_CANCELLED = 10, PP_TIMED_OUT = 11, PP_POOL_FAILED = 12, PP_INTERNAL = 13
  integer(c_int32_t), parameter :: PP_NONE = 0, PP_BOOL = 1, PP_I8 = 2, PP_I16 = 3, PP_I32 = 4, &
    PP_I64 = 5, PP_U8 = 6, PP_U16 = 7, PP_U32 = 8, PP_U64 = 9, PP_F32 = 10, PP_F64 = 11, &
    PP_C64 = 12, PP_C128 = 13
  integer(c_int32_t), parameter :: PP_READ = 0, PP_UPDATE = 1, PP_OUT = 2, PP_WHOLE = 3
  ! All bits set: the order of calls numbers the random streams.
  integer(c_int64_t), parameter :: PP_STREAM_AUTO = -1_c_int64_t

  type, bind(C) :: pp_error_info
    integer(c_int32_t) :: status, code, signal, deaths
    integer(c_int64_t) :: chunk, worker
  end type

  type, bind(C) :: pp_part
    type(c_ptr) :: data
    integer(c_size_t) :: len, rows, row_len
    integer(c_int64_t) :: first_row
    integer(c_size_t) :: item_bytes
  end type

  type, bind(C) :: pp_chunk
    integer(c_int64_t) :: index, count, worker
    integer(c_size_t) :: nparts
    type(c_ptr) :: parts, params
    integer(c_size_t) :: params_bytes
    type(c_ptr) :: context
  end type

  type, bind(C) :: pp_arg
    type(c_ptr) :: array = c_null_ptr
    integer(c_int32_t) :: access = PP_READ
    integer(c_size_t) :: chunk_rows = 0
  end type

  ! Everything at its default; `size` is set by pp_job_init().
  type, bind(C) :: pp_job
    integer(c_size_t) :: size = 0
    type(c_ptr) :: args = c_null_ptr
    integer(c_size_t) :: nargs = 0
    type(c_ptr) :: params = c_null_ptr
    integer(c_size_t) :: params_bytes = 0
    integer(c_int64_t) :: chunks = 0
    integer(c_int64_t) :: stream = PP_STREAM_AUTO
    real(c_double) :: time_limit = 0, chunk_timeout = 0
    logical(c_bool) :: fail_on_death = .false._c_bool
    type(c_funptr) :: progress = c_null_funptr
    type(c_ptr) :: progress_data = c_null_ptr
    real(c_double) :: progress_seconds = 0.1_c_double
  end type

  interface
    subroutine pp_init() bind(C)
    end subroutine
    integer(c_int32_t) function pp_abi_version() bind(C)
      import
    end function
    type(c_ptr) function pp_version() bind(C)
      import
    end function
    type(c_ptr) function pp_last_error() bind(C)
      import
    end function
    subroutine pp_last_error_info(info) bind(C)
      import
      type(pp_error_info), intent(out) :: info
    end subroutine
    integer(c_int32_t) function pp_set_isa(name) bind(C)
      import
      character(kind=c_char), intent(in) :: name(*)
    end function

    type(c_ptr) function pp_options_new() bind(C)
      import
    end function
    integer(c_int32_t) function pp_options_set(options, name, text) bind(C)
      import
      type(c_ptr), value :: options
      character(kind=c_char), intent(in) :: name(*), text(*)
    end function
    integer(c_int32_t) function pp_options_set_u64(options, name, number) bind(C)
      import
      type(c_ptr), value :: options
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), value :: number
    end function
    subroutine pp_options_free(options) bind(C)
      import
      type(c_ptr), value :: options
    end subroutine

    integer(c_int32_t) function pp_pool_new(options, pool) bind(C)
      import
      type(c_ptr), value :: options
      type(c_ptr), intent(out) :: pool
    end function
    subroutine pp_pool_free(pool) bind(C)
      import
      type(c_ptr), value :: pool
    end subroutine
    integer(c_size_t) function pp_pool_workers(pool) bind(C)
      import
      type(c_ptr), value :: pool
    end function
    integer(c_int64_t) function pp_pool_deaths(pool) bind(C)
      import
      type(c_ptr), value :: pool
    end function

    integer(c_int32_t) function pp_array_zeros(dtype, ndim, shape, array) bind(C)
      import
      integer(c_int32_t), value :: dtype
      integer(c_size_t), value :: ndim
      integer(c_size_t), intent(in) :: shape(*)
      type(c_ptr), intent(out) :: array
    end function
    integer(c_int32_t) function pp_array_copy(dtype, ndim, shape, data, array) bind(C)
      import
      integer(c_int32_t), value :: dtype
      integer(c_size_t), value :: ndim
      integer(c_size_t), intent(in) :: shape(*)
      type(c_ptr), value :: data
      type(c_ptr), intent(out) :: array
    end function
    integer(c_int32_t) function pp_array_create_named(name, dtype, ndim, shape, array) bind(C)
      import
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int32_t), value :: dtype
      integer(c_size_t), value :: ndim
      integer(c_size_t), intent(in) :: shape(*)
      type(c_ptr), intent(out) :: array
    end function
    integer(c_int32_t) function pp_array_open_file(path, writable, array) bind(C)
      import
      character(kind=c_char), intent(in) :: path(*)
      logical(c_bool), value :: writable
      type(c_ptr), intent(out) :: array
    end function
    integer(c_int32_t) function pp_array_save(array, path) bind(C)
      import
      type(c_ptr), value :: array
      character(kind=c_char), intent(in) :: path(*)
    end function
    type(c_ptr) function pp_array_data(array) bind(C)
      import
      type(c_ptr), value :: array
    end function
    integer(c_size_t) function pp_array_len(array) bind(C)
      import
      type(c_ptr), value :: array
    end function
    integer(c_int32_t) function pp_array_total_f64(array, total) bind(C)
      import
      type(c_ptr), value :: array
      real(c_double), intent(out) :: total
    end function
    integer(c_int32_t) function pp_array_total_u64(array, total) bind(C)
      import
      type(c_ptr), value :: array
      integer(c_int64_t), intent(out) :: total
    end function
    subroutine pp_array_free(array) bind(C)
      import
      type(c_ptr), value :: array
    end subroutine

    integer(c_int32_t) function pp_map(pool, kernel, job, dtype, results) bind(C)
      import
      type(c_ptr), value :: pool
      type(c_funptr), value :: kernel
      type(pp_job), intent(in) :: job
      integer(c_int32_t), value :: dtype
      type(c_ptr), intent(out) :: results
    end function
    integer(c_int32_t) function pp_for_each(pool, kernel, job) bind(C)
      import
      type(c_ptr), value :: pool
      type(c_funptr), value :: kernel
      type(pp_job), intent(in) :: job
    end function
    integer(c_int32_t) function pp_call(pool, kernel, job, result, result_bytes) bind(C)
      import
      type(c_ptr), value :: pool
      type(c_funptr), value :: kernel
      type(pp_job), intent(in) :: job
      type(c_ptr), value :: result
      integer(c_size_t), value :: result_bytes
    end function
    integer(c_int32_t) function pp_builtin(pool, name, job, results) bind(C)
      import
      type(c_ptr), value :: pool
      character(kind=c_char), intent(in) :: name(*)
      type(pp_job), intent(in) :: job
      type(c_ptr), intent(out) :: results
    end function

    integer(c_int64_t) function pp_next_u64(chunk) bind(C)
      import
      type(pp_chunk), intent(in) :: chunk
    end function
    real(c_double) function pp_next_f64(chunk) bind(C)
      import
      type(pp_chunk), intent(in) :: chunk
    end function
    integer(c_int32_t) function pp_fill_uniform(chunk, out, n) bind(C)
      import
      type(pp_chunk), intent(in) :: chunk
      type(c_ptr), value :: out
      integer(c_size_t), value :: n
    end function
    integer(c_int32_t) function pp_set_message(chunk, text) bind(C)
      import
      type(pp_chunk), intent(in) :: chunk
      character(kind=c_char), intent(in) :: text(*)
    end function
    real(c_double) function pp_trig_power_sum(a, n, rounds) bind(C)
      import
      type(c_ptr), value :: a
      integer(c_size_t), value :: n
      integer(c_int32_t), value :: rounds
    end function
  end interface

contains

  ! A job with all defaults.
  type(pp_job) function pp_job_init() result(job)
    job%size = storage_size(job, c_size_t) / 8
  end function

  ! Part i (from 1) of a chunk.
  type(pp_part) function pp_part_of(chunk, i) result(part)
    type(pp_chunk), intent(in) :: chunk
    integer, intent(in) :: i
    type(pp_part), pointer :: parts(:)
    call c_f_pointer(chunk%parts, parts, [chunk%nparts])
    part = parts(i)
  end function

  ! The text of the last failure of this thread.
  function pp_error_text() result(text)
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: bytes(:)
    integer, parameter :: most = 4096
    integer :: n
    call c_f_pointer(pp_last_error(), bytes, [most])
    n = 0
    do while (n < most)
      if (bytes(n + 1) == c_null_char) exit
      n = n + 1
    end do
    allocate (character(len=n) :: text)
    text = transfer(bytes(1:n), text)
  end function
end module
