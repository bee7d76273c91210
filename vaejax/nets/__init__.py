"""Networks as Flax Linen modules: arrays -> arrays, any leading axes, plain data for fields."""

from vaejax.nets.around import Beside, Constant, Embeddings, First, Heads, SharedScale
from vaejax.nets.blocks import BlockDecoder, BlockEncoder, BlockPrior, Bottleneck, PixelHead
from vaejax.nets.cells import DecoderCell, EncoderCell
from vaejax.nets.codes import CausalTransformer, CodePixelCNN
from vaejax.nets.convolution import conv, conv_transpose
from vaejax.nets.convolutional import Conv, ConvDecoder, ConvEncoder, ConvTranspose
from vaejax.nets.denoisers import Denoiser, UNet
from vaejax.nets.dense import ACTIVATIONS, MLP, Critic, GaussianHead, MLPEncoder
from vaejax.nets.image_flow import ImageFlow
from vaejax.nets.inputs import FromBytes, FromCounts, Masked
from vaejax.nets.invertible import FlatFlow
from vaejax.nets.ladder import DenseLadder, GatedEncoder, GatedMLP
from vaejax.nets.lstm import LSTMDecoder, LSTMEncoder
from vaejax.nets.made import MADE
from vaejax.nets.maps import ConvDown, ConvUp
from vaejax.nets.modalities import Modalities, PerModality
from vaejax.nets.patches import PatchDecoder, PatchEncoder
from vaejax.nets.pixelcnn import GatedPixelCNN
from vaejax.nets.pyramid import Pyramid
from vaejax.nets.sparse import SparseDecoder

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "Beside",
    "BlockDecoder",
    "BlockEncoder",
    "BlockPrior",
    "Bottleneck",
    "CausalTransformer",
    "CodePixelCNN",
    "Constant",
    "Conv",
    "ConvDecoder",
    "ConvDown",
    "ConvEncoder",
    "ConvTranspose",
    "ConvUp",
    "Critic",
    "DecoderCell",
    "Denoiser",
    "DenseLadder",
    "Embeddings",
    "EncoderCell",
    "First",
    "FlatFlow",
    "FromBytes",
    "FromCounts",
    "GatedEncoder",
    "GatedMLP",
    "GatedPixelCNN",
    "GaussianHead",
    "Heads",
    "ImageFlow",
    "LSTMDecoder",
    "LSTMEncoder",
    "MLPEncoder",
    "Masked",
    "Modalities",
    "PatchDecoder",
    "PatchEncoder",
    "PerModality",
    "PixelHead",
    "Pyramid",
    "SharedScale",
    "SparseDecoder",
    "UNet",
    "conv",
    "conv_transpose",
]
