"""Kill -9 while a model is pruned: its folder is there whole, or not at all."""

import cutting
import killing
import numpy as np

from smi_hf.evaluation.record import ModelRecord


def test_a_run_that_is_killed_leaves_no_half_model(tiny_checkpoint, sparse_folder, tmp_path):
    context = killing.processes()

    def run(folder, number):
        folder.mkdir(exist_ok=True)
        arguments = (str(tiny_checkpoint), str(sparse_folder), str(folder))
        return killing.run_killed(cutting.make, arguments, folder, number, context=context)

    code, num_changes = run(tmp_path / "whole", 0)
    assert code == 0
    whole = ModelRecord.load(tmp_path / "whole" / "pruned")
    for number in np.linspace(1, num_changes, 5, dtype=int).tolist():
        folder = tmp_path / str(number)
        assert run(folder, number)[0] == -9, f"the run was not killed at change {number}"
        if not (folder / "pruned").exists():
            assert run(folder, 0)[0] == 0, f"after a kill at change {number} the same run failed"
            assert [path.name for path in folder.iterdir()] == ["pruned"]
        assert ModelRecord.load(folder / "pruned") == whole
        assert whole.changed_file(folder / "pruned") is None
