"""Networks as Flax Linen modules: arrays -> arrays, any leading axes, plain data for fields."""

from vaejax.nets.around import Beside, Constant, First, FromBytes, Heads, SharedScale
from vaejax.nets.convolution import conv, conv_transpose
from vaejax.nets.convolutional import Conv, ConvDecoder, ConvEncoder, ConvTranspose
from vaejax.nets.dense import ACTIVATIONS, MLP, Critic, GaussianHead, MLPEncoder
from vaejax.nets.ladder import DenseLadder, GatedEncoder, GatedMLP
from vaejax.nets.made import MADE
from vaejax.nets.patches import PatchDecoder, PatchEncoder
from vaejax.nets.pixelcnn import GatedPixelCNN

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "Beside",
    "Constant",
    "Conv",
    "ConvDecoder",
    "ConvEncoder",
    "ConvTranspose",
    "Critic",
    "DenseLadder",
    "First",
    "FromBytes",
    "GatedEncoder",
    "GatedMLP",
    "GatedPixelCNN",
    "GaussianHead",
    "Heads",
    "MLPEncoder",
    "PatchDecoder",
    "PatchEncoder",
    "SharedScale",
    "conv",
    "conv_transpose",
]
