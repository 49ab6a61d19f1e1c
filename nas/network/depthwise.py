"""Depthwise convolution whose gradients do not wait for oneDNN's slow paths on a CPU.

oneDNN's weight gradient is slow for kernels over 3x3 (128 images of 240 channels at 7x7, one Zen 4
core: 1.2 ms for 3x3, 11 ms for 5x5, 23 ms for 7x7) and on maps smaller than the kernel (32 images
of 1152 channels at 2x2: 12 ms in bfloat16, 0.4 here), and in bfloat16 its input gradient at stride
2.  All are rewritten here in terms of what is quick: dense products, 3x3 weight gradients and
forward convolutions.  The values are autograd's but for the order of summation and, in bfloat16,
where they are rounded.  `benchmarks/training_speed.py` measures what it saves.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.network.tracing import is_traced

# Dense products win while the map has at most this many times the kernel's taps: a dense row
# costs H*W multiplications instead of k*k, each about six times quicker (measured on Zen 4).
DENSE_LIMIT = 2


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Depthwise convolution with padding k // 2: x (N, C, H, W), weight (C, 1, k, k), k odd.

    Equals `F.conv2d(x, weight, None, stride, k // 2, groups=C)`, and is exactly that wherever
    the rewritten gradients would not pay or could not be recorded (tracing, export, no grad).
    """
    kernel = weight.shape[-1]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if not (torch.is_grad_enabled() and _pays(x, kernel, stride)):
        return F.conv2d(x, weight, None, stride, kernel // 2, groups=x.shape[1])
    return _Depthwise.apply(x, weight, stride)  # type: ignore[no-any-return, no-untyped-call]


class DepthwiseConv2d(nn.Conv2d):
    """An `nn.Conv2d` for which `is_depthwise` holds, with the quicker gradients."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        return depthwise_conv2d(input, self.weight, self.stride[0])


def is_depthwise(module: nn.Module) -> bool:
    """Whether `module` is a plain square depthwise convolution with padding k // 2."""
    if type(module) is not nn.Conv2d or module.bias is not None:
        return False
    kernel, stride = module.kernel_size[0], module.stride[0]
    return (
        module.groups == module.in_channels == module.out_channels
        and (module.kernel_size, module.stride) == ((kernel, kernel), (stride, stride))
        and kernel % 2 == 1
        and (module.padding, module.dilation) == ((kernel // 2, kernel // 2), (1, 1))
        and module.padding_mode == "zeros"
    )


def _pays(x: Tensor, kernel: int, stride: int) -> bool:
    """The measured rule: on x86 from 5x5 on, and where the map is smaller than the kernel.

    In bfloat16 only with AVX512_BF16, and at stride 2 too.
    """
    if x.device.type != "cpu" or is_traced():
        return False
    slow = kernel > 3 or _is_small(x, kernel)
    if x.dtype == torch.bfloat16:
        return cpu_has_bf16() and (slow or stride > 1)
    return x.dtype == torch.float32 and cpu_is_x86() and slow


def _is_small(x: Tensor, kernel: int) -> bool:
    """Whether the map (N, C, H, W) is smaller than the kernel, in both directions."""
    return max(x.shape[2:]) < kernel


@cache
def cpu_is_x86() -> bool:
    """Whether this is an x86 processor and torch has oneDNN for it."""
    onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return onednn and platform.machine() in ("x86_64", "AMD64")


@cache
def cpu_has_bf16() -> bool:
    """Whether the CPU computes in bfloat16 (AVX512_BF16, which AMX implies) and oneDNN uses it."""
    return cpu_is_x86() and torch.cpu._is_avx512_bf16_supported()


class _Depthwise(torch.autograd.Function):
    """F.conv2d with gradients by the quickest of the ways below."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, _ = ctx.needs_input_grad
        grad_x = input_gradient(grads[0], x, weight, ctx.stride) if need_x else None
        grad_weight = weight_gradient(grads[0], x, weight, ctx.stride) if need_weight else None
        return grad_x, grad_weight, None


def input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """d loss / d x, (N, C, H, W): torch's own, or by a forward convolution in strided bfloat16."""
    if stride > 1 and x.dtype == torch.bfloat16:
        return flipped_input_gradient(grad, x, weight, stride)
    return _torchs_gradient(grad, x, weight, stride, of_input=True)


def weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """d loss / d weight, (C, 1, k, k), by the way that is quickest for these shapes."""
    kernel = weight.shape[-1]
    dense = x.shape[2] * x.shape[3] <= DENSE_LIMIT * kernel**2
    if _is_small(x, kernel) or (kernel > 3 and dense):
        return dense_weight_gradient(grad, x, weight, stride)
    if kernel > 3 and (stride == 1 or x.dtype == torch.bfloat16):
        return shifted_weight_gradient(grad, x, weight, stride)
    return _torchs_gradient(grad, x, weight, stride, of_input=False)


def flipped_input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The input gradient as a stride-1 convolution of the zero-stuffed gradient, kernel flipped."""
    stuffed = torch.zeros_like(x)
    stuffed[:, :, ::stride, ::stride] = grad
    flipped, pad = weight.flip(2, 3), weight.shape[-1] // 2
    return F.conv2d(stuffed, flipped, padding=pad, groups=weight.shape[0])


def dense_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The weight gradient by one dense product per channel, then sums along its diagonals.

    Per channel the convolution is a matrix (output x input pixels) in which each tap of the
    kernel fills one diagonal band; the gradient of a tap is the sum over its band.
    """
    dense = torch.bmm(_by_channel(grad).transpose(1, 2), _by_channel(x))  # (C, Ho*Wo, H*W)
    bands = _bands(x.shape[2], x.shape[3], weight.shape[-1], stride)  # (Ho*Wo*H*W, k*k)
    return (dense.flatten(1) @ bands.to(dense.dtype)).view_as(weight)


def shifted_weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The weight gradient for k >= 5 from 3x3 ones at shifts 0, 2, ..., k - 3 in both directions.

    The images are laid end to end, with the zeros in between that a kernel needs: a shifted image
    is then the same memory read from a later pixel on, uncopied.
    """
    num, channels, height, width = x.shape
    kernel, pad = weight.shape[-1], weight.shape[-1] // 2
    rows, row = num * (height + pad), width + pad  # one column of zeros before, pad - 1 behind
    margin = (row + 1) * pad
    pixels = x.new_zeros(2 * margin + rows * row, channels)
    image = pixels[margin : margin + rows * row].view(num, height + pad, row, channels)
    image[:, :height, 1 : width + 1] = x.permute(0, 2, 3, 1)
    grads = x.new_zeros(num, height + pad, row, channels)
    grads[:, :height:stride, 1 : width + 1 : stride] = grad.permute(0, 2, 3, 1)
    tall_grad = grads.view(1, rows, row, channels).permute(0, 3, 1, 2)
    small, result = weight[:, :, :3, :3].contiguous(), torch.empty_like(weight)
    for i in range(0, kernel - 2, 2):
        for j in range(0, kernel - 2, 2):
            first = margin + (i - pad) * row + j + 1 - pad
            shifted = pixels[first : first + (rows + 2) * row].view(1, rows + 2, row, channels)
            shifted = shifted.permute(0, 3, 1, 2)
            part = _torchs_gradient(tall_grad, shifted, small, 1, (0, 1), of_input=False)
            result[:, :, i : i + 3, j : j + 3] = part
    return result


def _torchs_gradient(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, pad: Sequence[int] = (), *, of_input: bool
) -> Tensor:
    """Torch's own gradient by the input or by the weight; (k // 2, k // 2) is the usual `pad`."""
    pad, mask = pad or [weight.shape[-1] // 2] * 2, [of_input, not of_input, False]
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, pad, [1, 1], False, [0, 0], weight.shape[0], mask
    )
    return gradients[0 if of_input else 1]


def _by_channel(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (C, N, H*W), contiguous."""
    return x.permute(1, 0, 2, 3).flatten(2).contiguous()


@lru_cache(maxsize=64)
def _bands(height: int, width: int, kernel: int, stride: int) -> Tensor:
    """0/1 matrix (Ho*Wo*H*W, k*k): which tap joins which output pixel to which input pixel."""
    out_y, out_x = torch.arange(0, height, stride), torch.arange(0, width, stride)
    tap_y = torch.arange(height) + kernel // 2 - out_y[:, None]  # (Ho, H)
    tap_x = torch.arange(width) + kernel // 2 - out_x[:, None]  # (Wo, W)
    taps = torch.arange(kernel)
    by_y = (tap_y[..., None] == taps).float()  # (Ho, H, k)
    by_x = (tap_x[..., None] == taps).float()  # (Wo, W, k)
    return torch.einsum("ahi,bwj->abhwij", by_y, by_x).reshape(-1, kernel * kernel)
