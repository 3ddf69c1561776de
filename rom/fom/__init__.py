"""Full-order models: what reduced models are trained on and checked against."""

from rom.fom.burgers import Burgers
from rom.fom.cylinder_wake import CylinderWake
from rom.fom.heat import Heat
from rom.fom.kuramoto_sivashinsky import KuramotoSivashinsky
from rom.fom.lorenz63 import Lorenz63
from rom.fom.lorenz96 import Lorenz96
from rom.fom.wave import Wave

__all__ = ["Burgers", "CylinderWake", "Heat", "KuramotoSivashinsky", "Lorenz63", "Lorenz96", "Wave"]
