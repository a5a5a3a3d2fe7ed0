"""What is read from the text of a compiled program; the lines are of XLA's TPU and CUDA compilers."""

from __future__ import annotations

import pytest

from zoo.backend.compiled_program import (
    Collective,
    CompiledProgram,
    Kernels,
    collectives,
    main_memory_bytes,
    own_kernels,
    shape_bytes,
)

TPU = """
  ROOT %all-reduce = bf16[512,512]{1,0:T(8,128)(2,1)} all-reduce(%fusion), channel_id=1, replica_groups=[1,2]<=[2]
  %all-reduce.5 = (f32[30522,768]{1,0:T(8,128)S(1)}, f32[768]{0:T(1024)}) all-reduce(%a, %b), channel_id=2
  %copy = bf16[512,512]{1,0:T(8,128)(2,1)} copy(%all-reduce), metadata={op_name="transpose"}
  %all-gather.1 = s32[64]{0} all-gather(%p), channel_id=3, dimensions={0}
"""
CUDA = """
  %all-reduce-start = bf16[512,512]{1,0} all-reduce-start(%gemm_fusion_dot.2), channel_id=1, to_apply=%add.clone
  ROOT %all-reduce-done = bf16[512,512]{1,0} all-reduce-done(%all-reduce-start), metadata={}
  %ag = ((f32[4,8]{1,0}, pred[16]{0}), (f32[8,8]{1,0}, pred[32]{0})) all-gather-start(%x, %y), dimensions={0}
  %agd = (f32[8,8]{1,0}, pred[32]{0}) all-gather-done(%ag)
  %cp = (f32[2]{0}, f32[2]{0}, u32[], u32[]) collective-permute-start(%z), source_target_pairs={{0,1}}
"""
KERNEL = (
    '  %k{} = f32[8]{{0}} custom-call(%x), custom_call_target="{}", '
    'backend_config={{"custom_call_config":{{"body":"a"{}}}}}\n'
)
ESTIMATE = ',"cost_estimate":{"flops":"12","transcendentals":"3","bytes_accessed":"70","remote_bytes_transferred":"0"}'


def test_collectives_by_kind_and_bytes() -> None:
    assert collectives(TPU) == {
        "all-reduce": Collective(count=2, bytes=512 * 512 * 2 + 30522 * 768 * 4 + 768 * 4),
        "all-gather": Collective(count=1, bytes=64 * 4),
    }


def test_what_begins_and_what_ends_is_one() -> None:
    """And of what comes in and goes out, what goes out counts."""
    assert collectives(CUDA) == {
        "all-reduce": Collective(count=1, bytes=512 * 512 * 2),
        "all-gather": Collective(count=1, bytes=8 * 8 * 4 + 32),
        "collective-permute": Collective(count=1, bytes=8),
    }


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[]", 4),
        ("pred[3,5]{1,0}", 15),
        ("bf16[32,12,512,512]{3,2,1,0:T(8,128)(2,1)}", 2 * 32 * 12 * 512 * 512),
        ("f8e4m3fn[16]{0}", 16),
        ("(s32[7]{0}, u8[3]{0}, f64[2]{0})", 28 + 3 + 16),
        ("f32[0,8]", 0),
    ],
)
def test_bytes_of_a_shape(shape: str, expected: int) -> None:
    assert shape_bytes(shape) == expected


MEMORIES = """
ENTRY %main (p: bf16[1024]) -> f32[512] {
  %p = bf16[1024]{0:T(1024)} parameter(0)
  %copy-start = (bf16[1024]{0:T(1024)S(1)}, bf16[1024]{0:T(1024)}, u32[]{:S(2)}) copy-start(%p)
  %copy-done = bf16[1024]{0:T(1024)S(1)} copy-done(%copy-start)
  %slice-start = ((bf16[1024]{0:T(1024)}), bf16[256]{0:T(256)S(1)}, s32[]{:S(2)}) slice-start(%p), calls=%c
  %slice-done = bf16[256]{0:T(256)S(1)} slice-done(%slice-start)
  %join = bf16[256]{0:T(256)S(1)} custom-call(%slice-done), custom_call_target="ConcatBitcast"
  %fusion = (f32[512]{0:T(512)}, bf16[1024]{0:T(1024)S(1)}) fusion(%copy-done, %p, %join, %p), kind=kLoop, calls=%f
  ROOT %out = f32[512]{0:T(512)} get-tuple-element(%fusion), index=0
}
"""


def test_bytes_from_and_to_main_memory() -> None:
    copied, sliced, read, written = 2048, 512, 2048, 2048
    assert main_memory_bytes(MEMORIES) == copied + sliced + read + written
    assert main_memory_bytes(MEMORIES.replace("S(1)", "")) is None
    assert main_memory_bytes(MEMORIES.replace(" fusion(", " while(")) is None


def test_kernels_of_our_own() -> None:
    """Whoever says what they cost, and whoever does not; the compiler's own calls are none."""
    text = KERNEL.format(1, "tpu_custom_call", ESTIMATE) * 2 + KERNEL.format(2, "tpu_custom_call", "")
    text += KERNEL.format(3, "TopK", ESTIMATE) + KERNEL.format(4, "__cublas$gemm", "")
    assert own_kernels(text) == Kernels(count=3, estimated=2, operations=24, bytes=140)


def test_memory_counts_what_takes_the_place_of_arguments_once() -> None:
    program = CompiledProgram(
        arguments=100,
        results=90,
        aliased=80,
        temporaries=7,
        code=1,
        operations=None,
        bytes_accessed=5.0,
        kernels=Kernels(),
        collectives={},
        compile_seconds=0.0,
    )
    assert program.memory == 118
    assert program.work is None
