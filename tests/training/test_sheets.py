import numpy as np

from birefnet.training.sheets import draw_sheet
from birefnet.training.validation import Shown


def test_a_row_shows_picture_truth_and_prediction() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    picture[..., 0] = 200
    truth, prediction = np.full((30, 40), 255, np.uint8), np.full((30, 40), 128, np.uint8)
    rows = [Shown("set/a", picture, truth, prediction), Shown("set/日本", picture[:, :9], truth[:, :9], truth[:, :9])]
    sheet = draw_sheet(rows, "step 5")
    assert sheet.ndim == 3 and sheet.shape[2] == 3 and sheet.dtype == np.uint8
    row = sheet[36 + 96]  # the middle of the first row
    assert row[4 + 128].tolist() == [200, 0, 0]
    assert row[4 + 260 + 128].tolist() == [255, 255, 255]
    assert row[4 + 520 + 128].tolist() == [128, 128, 128]
    assert draw_sheet([], "nothing").shape[0] < sheet.shape[0]
