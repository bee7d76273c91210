"""Networks as Flax Linen modules: arrays -> arrays, any leading axes, plain data for fields."""

from vaejax.nets.around import Constant, FromBytes, SharedScale
from vaejax.nets.convolution import conv, conv_transpose
from vaejax.nets.convolutional import Conv, ConvDecoder, ConvEncoder, ConvTranspose
from vaejax.nets.dense import ACTIVATIONS, MLP, Critic, MLPEncoder
from vaejax.nets.made import MADE
from vaejax.nets.patches import PatchDecoder, PatchEncoder
from vaejax.nets.pixelcnn import GatedPixelCNN

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "Constant",
    "Conv",
    "ConvDecoder",
    "ConvEncoder",
    "ConvTranspose",
    "Critic",
    "FromBytes",
    "GatedPixelCNN",
    "MLPEncoder",
    "PatchDecoder",
    "PatchEncoder",
    "SharedScale",
    "conv",
    "conv_transpose",
]
