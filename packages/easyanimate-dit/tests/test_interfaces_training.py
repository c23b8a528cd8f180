"""What the trainers ask of a transformer: ours keep it, and broken ones are found out."""

import pytest
from easyanimate_core.testing import TrainableTransformerContract
from test_interfaces import make_hunyuan_case, make_pixart_case


class TestTransformer(TrainableTransformerContract):
    @pytest.fixture(params=[make_hunyuan_case, make_pixart_case])
    def case(self, request):
        return request.param()
