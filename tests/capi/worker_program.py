"""The workers' program is missing, or is none to be trusted: worker_program.py LIBDIR."""
import importlib.util
import os
import shutil
import sys
import tempfile

spec = importlib.util.spec_from_file_location("host", os.path.join(os.path.dirname(__file__), "host.py"))
host_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(host_module)
folder = tempfile.mkdtemp(prefix="pinpool-host-")
try:
    own = os.path.join(folder, "lib")
    shutil.copytree(sys.argv[1], own, symlinks=True)
    worker = os.path.join(own, "pinpool-worker")
    host = host_module.Host(os.path.join(own, "libpinpool.so.1"))

    def refused(words):
        status, _ = host.try_pool(workers=1, oversubscribe=1)
        assert status == host_module.START and words in host.error(), (status, host.error())

    os.chmod(worker, 0o757)
    refused("may be written by every user")
    os.chmod(worker, 0o644)
    refused("no executable file")
    os.rename(worker, worker + "-elsewhere")
    refused("PINPOOL_WORKER_PROGRAM")
    os.chmod(worker + "-elsewhere", 0o755)
    pool = host.pool(workers=1, oversubscribe=1, worker_program=worker + "-elsewhere")
    host.lib.pp_pool_free(pool)
    os.environ["PINPOOL_WORKER_PROGRAM"] = worker + "-elsewhere"
    pool = host.pool(workers=1, oversubscribe=1)
    host.lib.pp_pool_free(pool)
    # A program that is none of ours ends before it is a worker.
    os.environ["PINPOOL_WORKER_PROGRAM"] = shutil.which("true")
    refused("before it was ready")
    print("worker program: ok")
finally:
    shutil.rmtree(folder)
