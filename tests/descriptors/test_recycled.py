"""Memory is used again when, and only when, nothing shows it any more."""

import gc
import threading

import numpy as np
from ase.build import bulk

from nablatom.descriptors import SphericalExpansion
from nablatom.descriptors.recycled import ROOM, SMALL, Recycled

SIZE = 2 * SMALL


def test_views_keep_memory():
    recycled = Recycled(4 * SIZE)
    array = recycled.array(SIZE)
    address, view = array.ctypes.data, array[64:].view(np.float64).reshape(-1, 8)[3:]
    del array
    gc.collect()
    assert not recycled.free
    view[:] = 1.0
    assert recycled.array(SIZE).ctypes.data != address
    assert (view == 1.0).all()
    del view
    gc.collect()
    again = [recycled.array(SIZE) for _ in range(2)]
    assert address in [array.ctypes.data for array in again]


def test_only_memory_that_fits_is_used_again():
    recycled = Recycled(1 << 30)
    recycled.array(SIZE)
    assert len(recycled.free) == 1
    larger = recycled.array(SIZE + 1)
    assert len(recycled.free) == 1
    assert larger.nbytes == SIZE + 1
    tiny = recycled.array(SIZE // ROOM - 1)
    assert len(recycled.free) == 1
    smaller = recycled.array(SIZE // ROOM)
    assert not recycled.free
    assert (tiny.nbytes, smaller.nbytes) == (SIZE // ROOM - 1, SIZE // ROOM)


def test_no_more_is_kept_than_the_limit():
    recycled = Recycled(3 * SIZE)
    arrays = [recycled.array(SIZE) for _ in range(8)]
    del arrays
    assert sum(memory.nbytes for memory in recycled.free.values()) == 3 * SIZE
    recycled.array(4 * SIZE)
    assert sum(memory.nbytes for memory in recycled.free.values()) <= 3 * SIZE


def test_small_memory_is_left_to_the_library():
    recycled = Recycled(1 << 30)
    recycled.array(SMALL - 1)
    assert not recycled.free


def test_threads_never_share_memory():
    recycled, failures = Recycled(1 << 30), []

    def work(number):
        for _ in range(200):
            array = recycled.array(SIZE)
            array[:64] = number
            if not (array[:64] == number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_results_that_are_kept_stay_what_they_are():
    frames = [bulk("Si", cubic=True) * 2 for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
    expansion = SphericalExpansion()
    first = expansion(frames[0], gradients=["positions"])
    copies = [block.gradient("positions").values.copy() for block in first.blocks()]
    block = first.block(o3_lambda=6).gradient("positions").values
    del first
    for frame in frames[1:]:
        expansion(frame, gradients=["positions"])
    np.testing.assert_array_equal(block, copies[6])
